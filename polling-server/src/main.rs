//! The server. Everything is in the library; here the process lends it its arguments and its environment.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Many small things are made for a request and thrown away by another thread than made them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    polling_server::process::run(std::env::args_os(), std::env::vars_os()).into()
}
