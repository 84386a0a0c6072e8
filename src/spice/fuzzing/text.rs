//! What people and files say about where a console is.

use super::{Source, check_error};
use crate::spice::{address, vv};

/// An address (0) or a connection file (1). What is understood is written to something that means the same.
pub fn text(data: &[u8]) {
    let mut source = Source(data);
    let is_file = source.up_to(1) == 1;
    let Ok(text) = std::str::from_utf8(source.rest()) else { return };
    if is_file {
        match vv::parse(text) {
            Ok(file) => {
                let written = vv::format(&file.target, file.delete_this_file);
                let again = vv::parse(&written);
                let again = again.unwrap_or_else(|error| panic!("{written:?} is not understood: {error}"));
                assert_eq!(again.target, file.target, "{written:?}");
                assert_eq!(again.delete_this_file, file.delete_this_file, "{written:?}");
            }
            Err(error) => check_error(&error),
        }
        return;
    }
    match address::parse(text) {
        Ok(mut target) => {
            // What is written is shown to people.
            target.password = None;
            if let Some(written) = target.to_uri() {
                let again = address::parse(&written);
                let again = again.unwrap_or_else(|error| panic!("{written:?} is not understood: {error}"));
                assert_eq!(again, target, "{written:?}");
            }
        }
        Err(error) => check_error(&error),
    }
}
