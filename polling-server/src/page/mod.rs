//! The pages for people: what the server is, its API, and what each problem means.

mod assets;
mod files;
mod problem_page;

pub(crate) use assets::{home, page_paths, with_pages};
