//! Which keys an object has, and of which type.

use serde_json::Value;

/// What a key must hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    /// An integer from 0 to this.
    Unsigned(u64),
    /// A number that is written with a fraction or without.
    Number,
    Text,
    TextOrNull,
    NumberOrNull,
    Id,
    /// An array of objects with these keys.
    Objects(Shape),
    /// An array of strings.
    Texts,
    /// An object with these keys.
    Object(Shape),
    /// An object with any keys, whose values are objects with these.
    Named(Shape),
}

/// Keys and what they hold. Further keys are allowed: newer servers may say more.
pub(super) type Shape = &'static [(&'static str, Kind)];

pub(super) const U8: Kind = Kind::Unsigned(u8::MAX as u64);
pub(super) const U16: Kind = Kind::Unsigned(u16::MAX as u64);
pub(super) const U32: Kind = Kind::Unsigned(u32::MAX as u64);
pub(super) const U64: Kind = Kind::Unsigned(u64::MAX);

/// Says what is missing or of another type; nothing when all is there.
pub(super) fn mismatch(value: &Value, shape: Shape) -> Option<String> {
    let Some(object) = value.as_object() else { return Some(format!("wants an object, got {value}")) };
    shape.iter().find_map(|(key, kind)| {
        let Some(value) = object.get(*key) else { return Some(format!("`{key}` is missing")) };
        kind.mismatch(value).map(|why| format!("`{key}`: {why}"))
    })
}

impl Kind {
    fn mismatch(self, value: &Value) -> Option<String> {
        let all = |values: &[Value], shape| values.iter().find_map(|value| mismatch(value, shape));
        let fits = match self {
            Self::Bool => value.is_boolean(),
            Self::Unsigned(limit) => value.as_u64().is_some_and(|number| number <= limit),
            Self::Number => value.is_number(),
            Self::NumberOrNull => value.is_number() || value.is_null(),
            Self::Text => value.is_string(),
            Self::TextOrNull => value.is_string() || value.is_null(),
            Self::Id => value.is_i64() || value.is_string(),
            Self::Texts => value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string)),
            Self::Objects(shape) => match value.as_array() {
                Some(values) => return all(values, shape),
                None => false,
            },
            Self::Object(shape) => return mismatch(value, shape),
            Self::Named(shape) => match value.as_object() {
                Some(named) => return named.values().find_map(|value| mismatch(value, shape)),
                None => false,
            },
        };
        (!fits).then(|| format!("wants {self:?}, got {value}"))
    }
}

/// The shape of an event's data; nothing for an event that the protocol does not have.
pub(super) fn of_event(name: &str) -> Option<Shape> {
    EVENTS.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
}

/// Section 7.
pub(super) const EVENTS: [(&str, Shape); 9] = [
    ("latency", &[("sample_ms", Kind::Number), ("wallclock_us", U64)]),
    ("agent_connected", &[("connected", Kind::Bool)]),
    ("paste_completed", &[("request_id", Kind::Id), ("chars_sent", U32)]),
    ("paste_failed", &[("request_id", Kind::Id), ("reason", Kind::Text)]),
    ("dropped", &[("count", U32)]),
    (
        "surface_drawn",
        &[
            ("display_channel_id", U8),
            ("surface_id", U32),
            ("produced_at_secs", Kind::Number),
            ("wallclock_us", U64),
        ],
    ),
    ("clipboard_changed", &[("bytes", U64)]),
    ("input_rtt", &[("rtt_ms", Kind::Number), ("wallclock_us", U64)]),
    (
        "digest_updated",
        &[
            ("frame_counter", U32),
            ("framebuffer_hash", U32),
            ("events", Kind::Objects(&[])),
            ("wallclock_us", U64),
        ],
    ),
];

/// The shape of a record in a digest (visual-digest format, section 7); nothing for an unknown one.
pub(super) fn of_record(name: &str) -> Option<Shape> {
    RECORDS.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
}

const AT: (&str, Kind) = ("timestamp_ms", U64);
const RECORDS: [(&str, Shape); 8] = [
    ("keypress", &[("unicode", Kind::Text), ("scancode", U16), AT]),
    ("line_rendered", &[("row", U16), AT]),
    ("scene_transition", &[("from", Kind::Text), ("to", Kind::Text), AT]),
    ("bootloader_decision", &[("choice", Kind::Text), ("attempt", U32), AT]),
    ("paste_received", &[("len", U32), ("correct", Kind::Bool), AT]),
    ("bootloader_timeout", &[AT]),
    (
        "mode_switch",
        &[("requested_w", U32), ("requested_h", U32), ("applied_w", U32), ("applied_h", U32), AT],
    ),
    ("mode_cycle", &[("count", U32), ("interrupted", Kind::Bool), AT]),
];
