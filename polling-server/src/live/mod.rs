//! What watchers see, and how it reaches them.

pub mod follow;
pub mod through;
pub mod views;
