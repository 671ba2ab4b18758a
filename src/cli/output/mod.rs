//! What programs print, and in which form.

pub mod advice;
pub mod json;
pub mod listing;
pub mod messages;
pub mod missing;
pub mod path_info_json;
mod row;
pub mod streams;
mod task;
pub mod version;
