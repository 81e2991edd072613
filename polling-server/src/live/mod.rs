//! What watchers see, and how it reaches them.

pub mod views;
