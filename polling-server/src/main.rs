//! The server. Everything is in the library; here the process lends it its arguments and its environment.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Many small things are made for a request and thrown away by another thread than made them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // A variable that is not text cannot be one of ours.
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    polling_server::process::run(std::env::args_os(), environment).into()
}
