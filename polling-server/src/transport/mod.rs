//! Pieces of the HTTP transport that [`serve`](crate::serve) is put together from.

pub mod body;
pub mod client_address;
pub mod cors;
pub mod flow;
pub mod refusal;
pub mod requests;
pub mod room;
pub mod served;
pub mod wire;
