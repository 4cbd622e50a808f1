//! The program `par`.

/// What a call allocates is freed within a millisecond, and 32 calls at once are more than the C library keeps at hand.
#[cfg(target_arch = "x86_64")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    par::run()
}
