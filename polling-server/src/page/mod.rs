//! The pages for people: what the server is, its API, and what each problem means.

mod assets;
mod problem_page;

pub(crate) use assets::{ASSET_PATHS, home, with_pages};
