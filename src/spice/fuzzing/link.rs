//! Both sides of the handshake.

use super::{Source, check_error};
use crate::spice::ticket;
use crate::spice::wire::link::{LinkHeader, LinkMess, LinkReply};

/// What a server (0) or a client (1) says first: header and message.
pub fn link(data: &[u8]) {
    let mut source = Source(data);
    let is_client = source.up_to(1) == 1;
    let minimum = if is_client { LinkMess::FIXED_LENGTH } else { 4 };
    let header = match LinkHeader::decode_checked(source.bytes(LinkHeader::LENGTH), minimum) {
        Ok(header) => header,
        Err(error) => return check_error(&error),
    };
    assert!(header.size <= 4096, "{} bytes", header.size);
    let body = source.bytes(usize::try_from(header.size).unwrap_or(usize::MAX));
    if is_client {
        match LinkMess::decode(body) {
            Ok(message) => assert_eq!(LinkMess::decode(&message.encode()[LinkHeader::LENGTH..]), Ok(message)),
            Err(error) => check_error(&error),
        }
        return;
    }
    match LinkReply::decode(body) {
        Ok(reply) => {
            assert_eq!(LinkReply::decode(&reply.encode()[LinkHeader::LENGTH..]).as_ref(), Ok(&reply));
            if let Err(error) = ticket::encrypt(None, &reply.public_key) {
                check_error(&error);
            }
        }
        Err(error) => check_error(&error),
    }
}
