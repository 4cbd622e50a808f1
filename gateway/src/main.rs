//! The program `par`.

fn main() -> std::process::ExitCode {
    par::run()
}
