//! The program `par`.

/// Of the C library's allocator each thread that calls another one's allocations pays for their locks: this one answers a
/// call with a fifth less of the processor.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    par::run()
}
