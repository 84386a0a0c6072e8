//! Lists that stay in the message they came in.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use super::bytes::{Field, Reader, WireError, Writer};

/// What [`Elements`] may be made of.
pub trait Element {
    /// The element, which may borrow from its list.
    type Of<'b>: Field<'b> + fmt::Debug;
    /// Bytes of the shortest one.
    const BYTES: u64;
}

/// Elements one behind the other, decoded where they are looked at: a list in a message costs no memory of its own.
///
/// INVARIANT: `bytes` are `count` elements that can be decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Elements<'a, E> {
    bytes: Cow<'a, [u8]>,
    count: usize,
    element: PhantomData<E>,
}

impl<'a, E: Element> Elements<'a, E> {
    /// Takes `count` elements off the reader, as far as they are all sound.
    pub fn decode(reader: &mut Reader<'a>, count: impl Into<u64>) -> Result<Self, WireError> {
        let count = reader.count(count.into(), E::BYTES)?;
        let mut end = reader.clone();
        (0..count).try_for_each(|_| E::Of::decode(&mut end).map(|_| ()))?;
        let bytes = reader.bytes(end.offset() - reader.offset())?;
        Ok(Self { bytes: Cow::Borrowed(bytes), count, element: PhantomData })
    }

    /// A list to be sent.
    pub fn of<'b>(elements: impl IntoIterator<Item = E::Of<'b>>) -> Self {
        let (mut writer, mut count) = (Writer::default(), 0);
        for element in elements {
            element.encode(&mut writer);
            count += 1;
        }
        Self { bytes: Cow::Owned(writer.finish()), count, element: PhantomData }
    }

    /// Appends all of them, without their number.
    pub fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.bytes);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = E::Of<'_>> + Clone {
        let mut reader = Reader::new(&self.bytes);
        // All of them can be decoded, so this ends with the last.
        (0..self.count).map_while(move |_| E::Of::decode(&mut reader).ok())
    }

    /// The same list in memory of its own.
    #[must_use]
    pub fn into_owned(self) -> Elements<'static, E> {
        Elements { bytes: Cow::Owned(self.bytes.into_owned()), count: self.count, element: PhantomData }
    }
}

impl<E: Element> fmt::Debug for Elements<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Element for i32 {
    type Of<'b> = Self;
    const BYTES: u64 = 4;
}

impl Element for u32 {
    type Of<'b> = Self;
    const BYTES: u64 = 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_out_as_they_went_in() {
        let list = Elements::<i32>::of([1, -2, 3]);
        assert_eq!((list.len(), list.iter().collect::<Vec<_>>()), (3, vec![1, -2, 3]));
        assert_eq!(format!("{list:?}"), "[1, -2, 3]");
        let mut writer = Writer::default();
        list.encode(&mut writer);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(Elements::decode(&mut reader, 3_u32), Ok(list));
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn a_count_is_believed_only_as_far_as_the_body_reaches() {
        let mut reader = Reader::new(&[0; 8]);
        let error = Elements::<u32>::decode(&mut reader, 3_u32);
        assert_eq!(error, Err(WireError::Truncated { field: "", wanted: 12, offset: 0, left: 8 }));
        assert!(Elements::<u32>::decode(&mut reader, 2_u32).is_ok());
        assert!(Elements::<u32>::decode(&mut reader, 0_u32).is_ok_and(|list| list.is_empty()));
    }
}
