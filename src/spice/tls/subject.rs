//! `host-subject`: the subject that a server's certificate must have, as people write it and as certificates hold it. Pure.

use std::fmt;

use thiserror::Error;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Tag, Tagged as _};
use x509_cert::name::Name;

/// A subject: its entries in order, such as `C=XL, L=Raleigh, CN=vm.example`.
#[derive(Debug, Clone)]
pub(super) struct Subject(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    kind: ObjectIdentifier,
    value: String,
}

/// Why a text is no subject.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubjectError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// An entry that is no `KEY=VALUE`.
    #[error("the entry {0:?} has no `=`")]
    NoValue(String),
    /// A key that is not known.
    #[error("the key {0:?} is unknown, known are {known}", known = KEYS.map(|(key, _)| key).join(", "))]
    Key(String),
}

impl Subject {
    /// Reads `KEY=VALUE, KEY=VALUE`. A backslash takes the next character as it is; spaces before a key are left out.
    pub(super) fn parse(text: &str) -> Result<Self, SubjectError> {
        let mut entries = Vec::new();
        let mut rest = text.chars();
        loop {
            let mut entry = String::new();
            let mut split = None;
            let mut is_last = true;
            while let Some(one) = rest.next() {
                match one {
                    ',' => {
                        is_last = false;
                        break;
                    }
                    '\\' => entry.extend(rest.next()),
                    '=' if split.is_none() => {
                        split = Some(entry.len());
                        entry.push('=');
                    }
                    ' ' if entry.is_empty() => {}
                    one => entry.push(one),
                }
            }
            // As behind the last comma.
            if !entry.is_empty() {
                let Some(split) = split else { return Err(SubjectError::NoValue(entry)) };
                let (key, value) = entry.split_at(split);
                let kind = kind_of(key.trim_end()).ok_or_else(|| SubjectError::Key(key.to_owned()))?;
                entries.push(Entry { kind, value: value.strip_prefix('=').unwrap_or(value).to_owned() });
            }
            if is_last {
                break;
            }
        }
        if entries.is_empty() { Err(SubjectError::Empty) } else { Ok(Self(entries)) }
    }

    /// Takes a certificate's subject apart. An entry that is no text has none.
    pub(super) fn of(name: &Name) -> Self {
        let entries = name.0.iter().flat_map(|set| set.0.iter());
        Self(entries.map(|entry| Entry { kind: entry.oid, value: text_of(entry) }).collect())
    }

    /// Whether both have the same entries in the same order. Case and the number of spaces do not count.
    pub(super) fn matches(&self, other: &Self) -> bool {
        let same = |(one, other): (&Entry, &Entry)| {
            one.kind == other.kind && canonical(&one.value) == canonical(&other.value)
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }

    /// The last common name.
    pub(super) fn common_name(&self) -> Option<&str> {
        let common_name = kind_of("CN");
        let entry = self.0.iter().rev().find(|entry| Some(entry.kind) == common_name)?;
        Some(&entry.value)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let kind = entry.kind.to_string();
            let key = KEYS.iter().find(|(_, known)| *known == kind).map_or(kind.as_str(), |(key, _)| key);
            write!(f, "{separator}{key}=")?;
            for one in entry.value.chars() {
                match one {
                    ',' | '\\' => write!(f, "\\{one}")?,
                    one if one.is_control() => write!(f, "{}", one.escape_default())?,
                    one => write!(f, "{one}")?,
                }
            }
        }
        Ok(())
    }
}

/// By short name, in any case, or by number.
fn kind_of(key: &str) -> Option<ObjectIdentifier> {
    let known = KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(key));
    ObjectIdentifier::new(known.map_or(key, |(_, number)| number)).ok()
}

fn text_of(entry: &AttributeTypeAndValue) -> String {
    let bytes = entry.value.value();
    match entry.value.tag() {
        // In practice Latin-1.
        Tag::TeletexString => bytes.iter().map(|byte| char::from(*byte)).collect(),
        Tag::BmpString => {
            let units = bytes
                .chunks_exact(2)
                .map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// What is compared.
fn canonical(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// OpenSSL's short names.
const KEYS: [(&str, &str); 16] = [
    ("C", "2.5.4.6"),
    ("ST", "2.5.4.8"),
    ("L", "2.5.4.7"),
    ("street", "2.5.4.9"),
    ("postalCode", "2.5.4.17"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("GN", "2.5.4.42"),
    ("title", "2.5.4.12"),
    ("serialNumber", "2.5.4.5"),
    ("dnQualifier", "2.5.4.46"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject(text: &str) -> Subject {
        Subject::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_order_the_kinds_and_the_values_count_and_nothing_else() {
        let wanted = subject("C=XL, L=Raleigh, O=Red Hat, CN=192.0.2.1");
        for same in [
            "C=XL,L=Raleigh,O=Red Hat,CN=192.0.2.1",
            "c=xl,  l= raleigh ,o=RED   hat,cn=192.0.2.1,",
            "2.5.4.6=XL,L=Raleigh,O=Red\\ Hat,CN=192.0.2.1",
        ] {
            assert!(wanted.matches(&subject(same)), "{same}");
        }
        for other in [
            "C=XL,L=Raleigh,O=Red Hat",
            "C=XL,L=Raleigh,O=Red Hat,CN=192.0.2.1,CN=192.0.2.1",
            "L=Raleigh,C=XL,O=Red Hat,CN=192.0.2.1",
            "C=XL,L=Raleigh,OU=Red Hat,CN=192.0.2.1",
            "C=XL,L=Raleigh,O=RedHat,CN=192.0.2.1",
            "C=XL,L=Raleigh,O=Red Hat,CN=192.0.2.10",
        ] {
            assert!(!wanted.matches(&subject(other)), "{other}");
        }
    }

    #[test]
    fn escapes_take_the_next_character_as_it_is() {
        let name = subject("O=Us\\, Ltd \\\\ Co, CN=a=b\\=c");
        assert_eq!(name.0[0].value, "Us, Ltd \\ Co");
        assert_eq!(name.common_name(), Some("a=b=c"));
        assert_eq!(name.to_string(), "O=Us\\, Ltd \\\\ Co, CN=a=b=c");
        assert_eq!(subject("CN=first,CN=last").common_name(), Some("last"));
        assert_eq!(subject("O=x").common_name(), None);
    }

    #[test]
    fn what_is_no_subject_is_told_apart() {
        for (text, wanted) in [
            ("", SubjectError::Empty),
            (" , ,", SubjectError::Empty),
            ("vm.example", SubjectError::NoValue("vm.example".to_owned())),
            ("C=XL,CM=x", SubjectError::Key("CM".to_owned())),
            ("=x", SubjectError::Key(String::new())),
        ] {
            assert_eq!(Subject::parse(text).unwrap_err(), wanted, "{text}");
        }
        assert!(SubjectError::Key("CM".to_owned()).to_string().contains("OU, CN"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(values in proptest::collection::vec("[ -~é]{1,12}", 1..4)) {
            let entries = values.into_iter().zip(["CN", "O", "2.5.4.65"]);
            let name = Subject(
                entries.map(|(value, key)| Entry { kind: kind_of(key).unwrap(), value }).collect(),
            );
            prop_assert!(name.matches(&subject(&name.to_string())), "{name}");
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", keys in "(CN=|,|\\\\|=| |[a-z0-9.])*") {
            let _ = Subject::parse(&text);
            let _ = Subject::parse(&keys);
        }
    }
}
