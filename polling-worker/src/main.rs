//! The worker. Everything is in the library; here the process lends it its arguments and its environment.

use std::process::ExitCode;

fn main() -> ExitCode {
    polling_worker::run(std::env::args_os(), std::env::vars_os()).into()
}
