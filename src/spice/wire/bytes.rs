//! Reading and writing message bodies: a bounded reader, a writer with pointers, and the macros that
//! describe a message once for both directions.

use thiserror::Error;

/// Why bytes are not the message they claim to be. Offsets count from the first byte of the body.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The body ends before the field does.
    #[error("field `{field}` needs {wanted} bytes at offset {offset}, {left} left")]
    Truncated {
        /// Field name as in the message type; empty for raw bytes.
        field: &'static str,
        /// Bytes the field needs; for arrays the announced total.
        wanted: u64,
        /// Offset of the field.
        offset: usize,
        /// Bytes that are really there.
        left: usize,
    },
    /// A value that no SPICE document defines and that cannot be passed over.
    #[error("{what} {got} is unknown (offset {offset})")]
    UnknownValue {
        /// What the value would select.
        what: &'static str,
        /// The value found.
        got: u32,
        /// Offset behind the value.
        offset: usize,
    },
    /// A value above what this side accepts.
    #[error("{what} is {got}, limit is {limit} (offset {offset})")]
    OverLimit {
        /// What is too large.
        what: &'static str,
        /// The value found.
        got: u64,
        /// The largest value accepted.
        limit: u64,
        /// Offset behind the value.
        offset: usize,
    },
    /// A pointer out of the body, or a null pointer where a structure is required.
    #[error("field `{field}` points to offset {pointer} of a body of {length} bytes (offset {offset})")]
    BadPointer {
        /// Field name as in the message type.
        field: &'static str,
        /// The pointer found.
        pointer: u32,
        /// Length of the body.
        length: usize,
        /// Offset behind the pointer.
        offset: usize,
    },
    /// A rectangle whose right or bottom edge lies before its left or top edge, or far off any surface.
    #[error("rectangle {left},{top} to {right},{bottom} is impossible (offset {offset})")]
    BadRect {
        /// Left edge, inclusive.
        left: i32,
        /// Top edge, inclusive.
        top: i32,
        /// Right edge, exclusive.
        right: i32,
        /// Bottom edge, exclusive.
        bottom: i32,
        /// Offset behind the rectangle.
        offset: usize,
    },
    /// A fixed value, such as a magic number, that is not what it must be.
    #[error("{what} is 0x{got:x}, wanted 0x{wanted:x}")]
    Mismatch {
        /// What must have the value.
        what: &'static str,
        /// The value required.
        wanted: u64,
        /// The value found.
        got: u64,
    },
}

impl WireError {
    /// Names the field for errors raised below it.
    #[must_use]
    pub fn in_field(mut self, name: &'static str) -> Self {
        if let Self::Truncated { field, .. } | Self::BadPointer { field, .. } = &mut self
            && field.is_empty()
        {
            *field = name;
        }
        self
    }
}

/// Takes fields from a message body, never past its end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    body: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `body`; pointers are relative to it.
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, offset: 0 }
    }

    /// Bytes taken so far, counted from the body's first byte.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes left between here and the end of the body.
    pub fn remaining(&self) -> usize {
        self.body.len() - self.offset
    }

    /// Takes exactly `wanted` bytes.
    pub fn bytes(&mut self, wanted: usize) -> Result<&'a [u8], WireError> {
        let taken = self.offset.checked_add(wanted).and_then(|end| self.body.get(self.offset..end));
        let Some(taken) = taken else {
            return Err(WireError::Truncated {
                field: "",
                wanted: u64::try_from(wanted).unwrap_or(u64::MAX),
                offset: self.offset,
                left: self.remaining(),
            });
        };
        self.offset += wanted;
        Ok(taken)
    }

    /// Takes a `u32`-counted run of bytes whose count was read before.
    pub fn counted_bytes(&mut self, count: u32) -> Result<&'a [u8], WireError> {
        self.bytes(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Takes all bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.body[self.offset..];
        self.offset = self.body.len();
        rest
    }

    /// Takes `count` elements of at least `element_bytes` each; the count is believed only as far as the
    /// body reaches, so nothing is allocated for elements that are not there.
    pub fn list<T: Field<'a>>(&mut self, count: u64, element_bytes: u64) -> Result<Vec<T>, WireError> {
        let count = self.count(count, element_bytes)?;
        (0..count).map(|_| T::decode(self)).collect()
    }

    /// `count`, if the body has room for as many elements of at least `element_bytes` each.
    pub(super) fn count(&self, count: u64, element_bytes: u64) -> Result<usize, WireError> {
        let wanted = count.saturating_mul(element_bytes);
        match usize::try_from(count) {
            Ok(count) if wanted <= u64::try_from(self.remaining()).unwrap_or(u64::MAX) => Ok(count),
            _ => {
                let (offset, left) = (self.offset, self.remaining());
                Err(WireError::Truncated { field: "", wanted, offset, left })
            }
        }
    }

    /// Takes a pointer; `None` when it is null. The returned reader stands at the target and resolves
    /// further pointers against the same body.
    pub fn pointer(&mut self) -> Result<Option<Self>, WireError> {
        let pointer = u32::decode(self)?;
        if pointer == 0 {
            return Ok(None);
        }
        match usize::try_from(pointer) {
            Ok(offset) if offset < self.body.len() => Ok(Some(Self { body: self.body, offset })),
            _ => Err(self.bad_pointer(pointer)),
        }
    }

    pub(super) fn bad_pointer(&self, pointer: u32) -> WireError {
        WireError::BadPointer { field: "", pointer, length: self.body.len(), offset: self.offset }
    }
}

/// Builds a message body; structures behind pointers follow the fixed part.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    pointers: Vec<(usize, Writer)>,
}

impl Writer {
    /// Appends raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a pointer to what `build` writes.
    pub fn pointer(&mut self, build: impl FnOnce(&mut Self)) {
        let mut target = Self::default();
        build(&mut target);
        self.pointers.push((self.bytes.len(), target));
        self.bytes(&[0; 4]);
    }

    /// Appends the number of elements or bytes that follow.
    pub fn count<T: Field<'static> + TryFrom<usize>>(&mut self, count: usize) {
        let Ok(count) = T::try_from(count) else {
            unreachable!("{count} elements do not fit the count field of a SPICE message");
        };
        count.encode(self);
    }

    /// Appends the body to `out` and begins anew, in the same memory.
    pub fn drain_into(&mut self, out: &mut Vec<u8>) {
        if self.pointers.is_empty() {
            out.append(&mut self.bytes);
        } else {
            out.extend(std::mem::take(self).finish());
        }
    }

    /// Returns the body with all pointers in place.
    pub fn finish(self) -> Vec<u8> {
        let mut body = self.bytes;
        let mut open: Vec<_> = self.pointers.into_iter().rev().collect();
        while let Some((at, target)) = open.pop() {
            let is_empty = target.bytes.is_empty();
            // A pointer must not point behind the body; what is empty may be anywhere in it.
            let base = body.len() - usize::from(is_empty);
            let pointer = u32::try_from(base).expect("a body stays below 4 GiB");
            body[at..at + 4].copy_from_slice(&pointer.to_le_bytes());
            body.extend_from_slice(&target.bytes);
            open.extend(target.pointers.into_iter().rev().map(|(at, target)| (base + at, target)));
        }
        body
    }
}

/// A value with a fixed place in a body.
pub trait Field<'a>: Sized {
    /// Takes the value off the reader.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError>;
    /// Appends the value.
    fn encode(&self, writer: &mut Writer);
}

/// A value that is the whole body of a message.
pub trait Message<'a>: Field<'a> {
    /// The message type number within its channel and direction.
    const KIND: u16;
    /// The name SPICE gives it, without prefix, such as `DRAW_COPY`.
    const NAME: &'static str;

    /// Decodes a body. Bytes behind the last field are ignored: later minor versions may add some.
    fn from_body(body: &'a [u8]) -> Result<Self, WireError> {
        Self::decode(&mut Reader::new(body))
    }

    /// Encodes the body.
    fn to_body(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.encode(&mut writer);
        writer.finish()
    }
}

macro_rules! integer_fields {
    ($($ty:ty),*) => {$(
        impl<'a> Field<'a> for $ty {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
                let mut bytes = [0; size_of::<$ty>()];
                bytes.copy_from_slice(reader.bytes(size_of::<$ty>())?);
                Ok(<$ty>::from_le_bytes(bytes))
            }
            fn encode(&self, writer: &mut Writer) {
                writer.bytes(&self.to_le_bytes());
            }
        }
    )*};
}
integer_fields!(u8, u16, u32, u64, i16, i32, i64);

/// A structure behind a pointer that must not be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer<T>(pub T);

impl<'a, T: Field<'a>> Field<'a> for Pointer<T> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let target = reader.pointer()?;
        let mut target = target.ok_or_else(|| reader.bad_pointer(0))?;
        Ok(Self(T::decode(&mut target)?))
    }
    fn encode(&self, writer: &mut Writer) {
        writer.pointer(|target| self.0.encode(target));
    }
}

/// `None` is the null pointer.
impl<'a, T: Field<'a>> Field<'a> for Option<Pointer<T>> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let target = reader.pointer()?;
        target.map(|mut target| T::decode(&mut target).map(Pointer)).transpose()
    }
    fn encode(&self, writer: &mut Writer) {
        match self {
            Some(pointer) => pointer.encode(writer),
            None => 0_u32.encode(writer),
        }
    }
}

/// The bytes between here and the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest<'a>(pub &'a [u8]);

impl<'a> Field<'a> for Rest<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self(reader.rest()))
    }
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(self.0);
    }
}

/// Bytes that follow their own `u32` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted<'a>(pub &'a [u8]);

impl<'a> Field<'a> for Counted<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = u32::decode(reader)?;
        Ok(Self(reader.counted_bytes(count)?))
    }
    fn encode(&self, writer: &mut Writer) {
        writer.count::<u32>(self.0.len());
        writer.bytes(self.0);
    }
}

/// Declares a structure and its [`Field`] implementation from one list of fields in wire order.
macro_rules! fields {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }
        impl<'w> $crate::spice::wire::bytes::Field<'w> for $name {
            $crate::spice::wire::bytes::fields!(@impl 'w, $($field),*);
        }
    };
    ($(#[$meta:meta])* $name:ident<$life:lifetime> { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name<$life> { $($(#[$field_meta])* pub $field: $ty,)* }
        impl<$life> $crate::spice::wire::bytes::Field<$life> for $name<$life> {
            $crate::spice::wire::bytes::fields!(@impl $life, $($field),*);
        }
    };
    (@impl $life:lifetime, $($field:ident),*) => {
        fn decode(
            _reader: &mut $crate::spice::wire::bytes::Reader<$life>,
        ) -> Result<Self, $crate::spice::wire::bytes::WireError> {
            Ok(Self {
                $($field: $crate::spice::wire::bytes::Field::decode(_reader)
                    .map_err(|error| error.in_field(stringify!($field)))?,)*
            })
        }
        fn encode(&self, _writer: &mut $crate::spice::wire::bytes::Writer) {
            $($crate::spice::wire::bytes::Field::encode(&self.$field, _writer);)*
        }
    };
}
pub(super) use fields;

/// Declares a message: `fields!` plus its type number and SPICE name.
macro_rules! message {
    ($(#[$meta:meta])* $kind:literal $wire_name:literal $name:ident { $($body:tt)* }) => {
        $crate::spice::wire::bytes::fields!($(#[$meta])* $name { $($body)* });
        impl<'w> $crate::spice::wire::bytes::Message<'w> for $name {
            const KIND: u16 = $kind;
            const NAME: &'static str = $wire_name;
        }
    };
    ($(#[$meta:meta])* $kind:literal $wire_name:literal $name:ident<$life:lifetime> { $($body:tt)* }) => {
        $crate::spice::wire::bytes::fields!($(#[$meta])* $name<$life> { $($body)* });
        impl<$life> $crate::spice::wire::bytes::Message<$life> for $name<$life> {
            const KIND: u16 = $kind;
            const NAME: &'static str = $wire_name;
        }
    };
}
pub(super) use message;

/// Declares the enum of everything one side says on a channel.
macro_rules! message_set {
    ($(#[$meta:meta])* $set:ident { $($variant:ident($ty:ty),)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $set { $(#[doc = concat!("See [`", stringify!($ty), "`].")] $variant($ty),)* }
        impl $set {
            $crate::spice::wire::bytes::message_set!(@impl &[u8], $($variant($ty),)*);
        }
    };
    ($(#[$meta:meta])* $set:ident<$life:lifetime> { $($variant:ident($ty:ty),)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $set<$life> { $(#[doc = concat!("See [`", stringify!($ty), "`].")] $variant($ty),)* }
        impl<$life> $set<$life> {
            $crate::spice::wire::bytes::message_set!(@impl &$life [u8], $($variant($ty),)*);
        }
    };
    (@impl $body:ty, $($variant:ident($ty:ty),)*) => {
        /// Decodes the body of a message of type `kind`; `None` when the type is unknown here.
        pub fn decode(
            kind: u16,
            body: $body,
        ) -> Result<Option<Self>, $crate::spice::wire::bytes::WireError> {
            use $crate::spice::wire::bytes::Message;
            Ok(Some(match kind {
                $(<$ty as Message<'_>>::KIND => Self::$variant(<$ty as Message<'_>>::from_body(body)?),)*
                _ => return Ok(None),
            }))
        }

        /// Encodes the body.
        pub fn to_body(&self) -> Vec<u8> {
            use $crate::spice::wire::bytes::Message;
            match self {
                $(Self::$variant(message) => message.to_body(),)*
            }
        }

        /// The name SPICE gives the message type `kind`, if it is known here.
        pub fn name_of(kind: u16) -> Option<&'static str> {
            use $crate::spice::wire::bytes::Message;
            match kind {
                $(<$ty as Message<'_>>::KIND => Some(<$ty as Message<'_>>::NAME),)*
                _ => None,
            }
        }
    };
}
pub(super) use message_set;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::*;
    use crate::spice::wire::base::BaseMessage;
    use crate::spice::wire::cursor::CursorMessage;
    use crate::spice::wire::display::DisplayMessage;
    use crate::spice::wire::header::{Frame, HeaderForm};
    use crate::spice::wire::inputs::InputsMessage;
    use crate::spice::wire::link::{LinkHeader, LinkMess, LinkReply};
    use crate::spice::wire::main::MainMessage;

    #[test]
    fn nested_pointers_are_relative_to_the_body() {
        let mut writer = Writer::default();
        writer.pointer(|image| {
            image.pointer(|palette| palette.bytes(b"p"));
            image.bytes(b"i");
        });
        writer.bytes(b"x");
        assert_eq!(writer.finish(), [5, 0, 0, 0, b'x', 10, 0, 0, 0, b'i', b'p']);
    }

    #[test]
    fn a_pointer_to_nothing_points_into_the_body() {
        let mut writer = Writer::default();
        writer.pointer(|_| {});
        let body = writer.finish();
        assert_eq!(body, [3, 0, 0, 0]);
        assert!(Reader::new(&body).pointer().is_ok_and(|target| target.is_some()));
    }

    #[test]
    fn pointers_out_of_the_body_are_refused() {
        let body = [4, 0, 0, 0];
        let error = Reader::new(&body).pointer().map(|_| ());
        assert_eq!(error, Err(WireError::BadPointer { field: "", pointer: 4, length: 4, offset: 4 }));
        assert!(Reader::new(&[0; 4]).pointer().unwrap().is_none());
    }

    #[test]
    fn errors_name_the_innermost_field() {
        let error = WireError::Truncated { field: "", wanted: 4, offset: 8, left: 1 };
        let error = error.in_field("window").in_field("outer");
        assert_eq!(error.to_string(), "field `window` needs 4 bytes at offset 8, 1 left");
    }

    fn decode_everything(kind: u16, body: &[u8]) {
        let _ = BaseMessage::decode(kind, body);
        let _ = MainMessage::decode(kind, body);
        let _ = DisplayMessage::decode(kind, body);
        let _ = InputsMessage::decode(kind, body);
        let _ = CursorMessage::decode(kind, body);
        let _ = LinkMess::decode(body);
        let _ = LinkReply::decode(body);
        let _ = LinkHeader::decode_checked(body, 4);
        let _ = Frame::split(HeaderForm::Mini, body, 1 << 20);
        let _ = Frame::split(HeaderForm::Full, body, 1 << 20);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(
            kind in prop::sample::select((1..9).chain(101..127).chain(301..323).collect::<Vec<u16>>()),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            decode_everything(kind, &body);
        }

        /// Random bytes rarely pass the first field; small numbers get further.
        #[test]
        fn no_small_numbers_make_a_decoder_panic(
            kind in prop::sample::select((1..9).chain(101..127).chain(301..323).collect::<Vec<u16>>()),
            body in prop::collection::vec(prop::sample::select(vec![0_u8, 0, 0, 0, 1, 2, 4, 21, 40, 100, 104, 255]), 0..300),
        ) {
            decode_everything(kind, &body);
        }

        #[test]
        fn what_a_decoder_takes_comes_back_when_encoded(
            body in prop::collection::vec(prop::sample::select(vec![0_u8, 0, 0, 1, 2, 4, 45, 60]), 40..200),
        ) {
            use crate::spice::wire::draw::DrawCopy;
            if let Ok(message) = DrawCopy::from_body(&body) {
                let encoded = message.to_body();
                prop_assert!(DrawCopy::from_body(&encoded).as_ref() == Ok(&message));
            }
        }
    }
}
