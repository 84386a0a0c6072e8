//! A scenario from what a person did: keys in and what the machine said after them, Lua text out. Pure.
//!
//! Start reading at [`scenario`]. What was typed is cut into bursts wherever the machine said something; each burst becomes
//! a step: its keys, then waits for what was seen. A wait must find the same again, so it is for what *stays*: a record
//! that left the digest at once, or numbers that differ each time, are of no use. Nothing sleeps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use regex_lite::Regex;
use visual_digest::Record;

use crate::console::Scancode;
use crate::console::layout::US;
use crate::journal::{Body, Event};

/// Something that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stroke {
    /// The newest event of the journal when it was.
    pub after: u64,
    /// When, from the beginning of the journal.
    pub at: Duration,
    /// What.
    pub input: Input,
}

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Keys that were held together, in the order in which they went down.
    Keys(Vec<Scancode>),
    /// A text.
    Text(String),
}

/// What is recorded.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The lane's name.
    pub lane: &'a str,
    /// How to play it.
    pub play: &'a str,
}

/// A scenario, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// In Lua.
    pub text: String,
    /// How many steps it has.
    pub steps: usize,
    /// How many waits.
    pub waits: usize,
    /// Whether texts stand in it as they were typed.
    pub has_text: bool,
}

/// Writes the scenario of these strokes, in their order, and these events.
pub fn scenario(about: About<'_>, strokes: &[Stroke], events: &[Arc<Event>]) -> Recorded {
    let bursts = bursts(strokes, events);
    let mut cursors = Cursors::default();
    let mut names = BTreeMap::new();
    let steps: Vec<Step> = bursts.iter().map(|burst| step(burst, &mut cursors, &mut names)).collect();
    let steps: Vec<Step> = steps.into_iter().filter(|step| !step.is_empty()).collect();
    let waits = steps.iter().map(|step| step.waits.len()).sum();
    let has_text = steps.iter().any(|step| step.has_text);
    Recorded { text: lua(about, &steps), steps: steps.len(), waits, has_text }
}

/// What a record is for somebody who watches; nothing for one that tells nothing new.
pub fn told(record: &Record) -> Option<String> {
    is_telling(record).then(|| {
        fields(record)
            .replace(['{', '}', '"'], "")
            .replace(" = ", " ")
            .replace("  ", " ")
            .trim_end()
            .to_owned()
    })
}

/// Strokes without news between them, and what came after. The first has no strokes.
struct Burst<'a> {
    strokes: Vec<&'a Stroke>,
    news: Vec<&'a Event>,
    /// When the next one began, if there is one.
    until: Option<Duration>,
}

fn bursts<'a>(strokes: &'a [Stroke], events: &'a [Arc<Event>]) -> Vec<Burst<'a>> {
    let between = |from: u64, to: u64| {
        events.iter().map(Arc::as_ref).filter(move |event| event.seq > from && event.seq <= to)
    };
    let end_of = |next: Option<&&Stroke>| next.map_or(u64::MAX, |next| next.after);
    let mut bursts = vec![Burst { strokes: Vec::new(), news: Vec::new(), until: None }];
    let mut last: Option<&Stroke> = None;
    let mut waiting = strokes.iter().peekable();
    if let Some(first) = bursts.first_mut() {
        first.news.extend(between(0, end_of(waiting.peek())));
        first.until = waiting.peek().map(|next| next.at);
    }
    while let Some(stroke) = waiting.next() {
        let next = waiting.peek();
        let begins = last.is_none_or(|last| {
            let news: Vec<&Event> = between(last.after, stroke.after).collect();
            cuts(last, stroke, &news)
        });
        if begins {
            bursts.push(Burst { strokes: Vec::new(), news: Vec::new(), until: None });
        }
        if let Some(burst) = bursts.last_mut() {
            burst.strokes.push(stroke);
            burst.news.extend(between(stroke.after, end_of(next)));
            burst.until = next.map(|next| next.at);
        }
        last = Some(stroke);
    }
    bursts
}

/// Whether what happened between two strokes makes them two bursts.
fn cuts(last: &Stroke, next: &Stroke, news: &[&Event]) -> bool {
    let pause = next.at.saturating_sub(last.at);
    let is_text = |stroke: &Stroke| printable(&stroke.input).is_some();
    let said = |event: &&Event| record_of(event).is_some_and(is_telling);
    let chatted = |event: &&Event| serial_of(event).is_some();
    let drew = |event: &&Event| matches!(event.body, Body::SurfaceDrawn { .. });
    // What a machine logs meanwhile is no answer to half a word.
    let in_a_word = is_text(last) && is_text(next) && pause < A_PAUSE;
    news.iter().any(said)
        || (!in_a_word && news.iter().any(chatted))
        || (pause >= A_LONG_PAUSE && news.iter().any(drew))
}

/// What becomes of a burst.
#[derive(Default)]
struct Step {
    name: String,
    inputs: Vec<String>,
    waits: Vec<Wait>,
    has_text: bool,
    /// How long it took.
    took: Duration,
}

impl Step {
    fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.waits.is_empty()
    }
}

/// A line of Lua that waits.
struct Wait {
    code: String,
    needs: &'static str,
    /// For the name of the step, and how well it names one.
    name: (u8, String),
}

/// Up to where waits have read the streams.
#[derive(Default)]
struct Cursors {
    digest: u64,
    serial: u64,
    /// What the streams said so far.
    records: Vec<(u64, Record)>,
    lines: Vec<(u64, String)>,
}

fn step(burst: &Burst<'_>, cursors: &mut Cursors, names: &mut BTreeMap<String, u32>) -> Step {
    cursors.records.extend(burst.news.iter().filter_map(|event| Some((event.seq, *record_of(event)?))));
    let lines = burst.news.iter().filter_map(|event| Some((event.seq, serial_of(event)?.to_owned())));
    cursors.lines.extend(lines);
    let (inputs, has_text) = inputs(&burst.strokes);
    let is_over = burst.news.iter().any(|event| matches!(event.body, Body::LaneEnded { by_guest: true, .. }));
    let mut waits = Vec::new();
    // When the machine ends, what it says last may not be seen any more.
    if !is_over || burst.strokes.is_empty() {
        waits.extend(digest_waits(burst, cursors));
        waits.extend(serial_wait(burst, cursors));
        if waits.is_empty() {
            waits.extend(screen_wait(burst));
        }
    }
    if is_over {
        let code = "t.lane:wait_for_shutdown()".to_owned();
        waits.push(Wait { code, needs: "", name: (9, "power-off".to_owned()) });
    }
    let best = waits.iter().map(|wait| &wait.name).max_by_key(|name| name.0);
    let plain = if burst.strokes.is_empty() { "the machine is up" } else { "keys" };
    let name = best.filter(|_| !burst.strokes.is_empty() || is_over).map_or(plain, |name| &name.1).to_owned();
    let count = names.entry(name.clone()).or_insert(0);
    *count += 1;
    let name = if *count > 1 { format!("{name} ({count})") } else { name };
    let began = burst.strokes.first().map_or(Duration::ZERO, |stroke| stroke.at);
    let last = burst.news.last().map_or(began, |event| event.at());
    Step { name, inputs, waits, has_text, took: last.saturating_sub(began) }
}

/// Waits for records that stayed: the last one before the next key, and grave ones that could be seen for a while.
fn digest_waits(burst: &Burst<'_>, cursors: &mut Cursors) -> Vec<Wait> {
    let digests = || {
        burst.news.iter().filter_map(|event| match &event.body {
            Body::DigestUpdated { digest, .. } => Some((*event, &digest.raw_records)),
            _ => None,
        })
    };
    let Some((_, shown_last)) = digests().next_back() else { return Vec::new() };
    let new = || {
        burst.news.iter().filter_map(|event| Some((*event, record_of(event)?))).filter(|it| is_telling(it.1))
    };
    let is_unique = |cursors: &Cursors, seq: u64, record: &Record| {
        let between = cursors.records.iter().filter(|(at, _)| *at > cursors.digest && *at < seq);
        between.filter(|(_, other)| fields(other) == fields(record)).count() == 0
    };
    let stays = |event: &Event, record: &Record| {
        let gone = digests().find(|(later, shown)| later.seq > event.seq && !shown.contains(record));
        gone.is_none_or(|(later, _)| later.at().saturating_sub(event.at()) >= A_WHILE)
    };
    let last =
        new().filter(|(event, record)| shown_last.contains(record) && is_unique(cursors, event.seq, record));
    let last = last.map(|(event, _)| event.seq).next_back();
    let mut waits = Vec::new();
    for (event, record) in new() {
        let is_wanted = Some(event.seq) == last
            || (gravity(record) > 1 && stays(event, record) && last.is_none_or(|last| event.seq < last));
        if is_wanted && is_unique(cursors, event.seq, record) {
            cursors.digest = event.seq;
            waits.push(Wait {
                code: format!("digest:wait_for {{ {} }}", fields(record)),
                needs: "digest",
                name: (gravity(record), title(record)),
            });
        }
    }
    if waits.is_empty() && burst.strokes.is_empty() {
        let name = (0, "the first digest".to_owned());
        waits.push(Wait { code: "digest:wait_for(any)".to_owned(), needs: "digest", name });
    }
    waits
}

/// A wait for the last line, or prompt, that nothing before it looks like.
fn serial_wait(burst: &Burst<'_>, cursors: &mut Cursors) -> Option<Wait> {
    let mut said: Vec<(&Event, &str)> =
        burst.news.iter().filter_map(|event| Some((*event, serial_of(event)?))).collect();
    // A prompt that went on is there again, as a line.
    let lines: Vec<(u64, String)> =
        said.iter().map(|(event, text)| (event.seq, (*text).to_owned())).collect();
    said.retain(|(event, text)| {
        let is_prompt = matches!(event.body, Body::SerialPrompt { .. });
        let goes_on = is_prompt && lines.iter().any(|(seq, line)| *seq > event.seq && line.starts_with(text));
        !goes_on && !text.trim().is_empty()
    });
    for (event, text) in said.into_iter().rev().take(MOST_LOOKED_AT) {
        let pattern = pattern_of(text, matches!(event.body, Body::SerialPrompt { .. }));
        let Ok(regex) = Regex::new(&pattern) else { continue };
        let mut before = cursors.lines.iter().filter(|(seq, _)| *seq > cursors.serial && *seq < event.seq);
        if before.any(|(_, line)| regex.is_match(line)) {
            continue;
        }
        cursors.serial = event.seq;
        let words: String = text.trim().chars().filter(|c| !c.is_control()).take(40).collect();
        let name = (1, format!("serial: {}", words.trim_end()));
        return Some(Wait { code: format!("serial:wait_for({})", quoted(&pattern)), needs: "serial", name });
    }
    None
}

/// Where there is nothing but pixels: that they rest, if they did.
fn screen_wait(burst: &Burst<'_>) -> Option<Wait> {
    let drawn = burst.news.iter().filter(|event| matches!(event.body, Body::SurfaceDrawn { .. }));
    let last = drawn.map(|event| event.at()).next_back()?;
    let rested = burst.until.is_none_or(|until| until.saturating_sub(last) >= A_PAUSE);
    let code = "t.screen:wait_for_stable()".to_owned();
    rested.then(|| Wait { code, needs: "screen", name: (0, "the screen rests".to_owned()) })
}

fn record_of(event: &Event) -> Option<&Record> {
    match &event.body {
        Body::DigestRecord { record, .. } => Some(record),
        _ => None,
    }
}

fn serial_of(event: &Event) -> Option<&str> {
    match &event.body {
        Body::SerialLine { text } | Body::SerialPrompt { text } => Some(text),
        _ => None,
    }
}

/// A key that arrived says nothing that the key itself did not.
fn is_telling(record: &Record) -> bool {
    gravity(record) > 0
}

/// How much a record tells: 0 nothing, 1 that something was drawn, more that the story went on.
fn gravity(record: &Record) -> u8 {
    match record {
        Record::Keypress { .. } => 0,
        Record::LineRendered { .. } => 1,
        Record::BootloaderDecision { .. } | Record::BootloaderTimeout { .. } => 2,
        Record::ModeSwitch { .. } | Record::ModeCycle { .. } => 3,
        Record::PasteReceived { .. } => 4,
        Record::SceneTransition { .. } => 5,
    }
}

/// What a wait asks of a record: everything but when it was.
fn fields(record: &Record) -> String {
    match record {
        Record::Keypress { unicode, scancode, .. } => {
            format!("keypress = {{ unicode = {}, scancode = {scancode} }}", lua_string(&unicode.to_string()))
        }
        Record::LineRendered { row, .. } => format!("line_rendered = {{ row = {row} }}"),
        Record::SceneTransition { from, to, .. } => {
            format!("scene_transition = {{ from = \"{from}\", to = \"{to}\" }}")
        }
        Record::BootloaderDecision { choice, attempt, .. } => {
            format!("bootloader_decision = {{ choice = \"{choice}\", attempt = {attempt} }}")
        }
        Record::PasteReceived { len, correct, .. } => {
            format!("paste_received = {{ len = {len}, correct = {correct} }}")
        }
        Record::BootloaderTimeout { .. } => "bootloader_timeout = any".to_owned(),
        Record::ModeSwitch { requested_w, requested_h, applied_w, applied_h, .. } => format!(
            "mode_switch = {{ requested_w = {requested_w}, requested_h = {requested_h}, applied_w = {applied_w}, \
             applied_h = {applied_h} }}"
        ),
        Record::ModeCycle { count, interrupted, .. } => {
            format!("mode_cycle = {{ count = {count}, interrupted = {interrupted} }}")
        }
    }
}

/// The name of a step that ends with this record.
fn title(record: &Record) -> String {
    match record {
        Record::LineRendered { row, .. } => format!("line_rendered in row {row}"),
        Record::SceneTransition { to, .. } => format!("scene_transition to {to}"),
        Record::BootloaderDecision { choice, .. } => format!("bootloader_decision {choice}"),
        Record::PasteReceived { correct, .. } => {
            format!("paste_received, {}", if *correct { "correct" } else { "wrong" })
        }
        Record::ModeSwitch { applied_w, applied_h, .. } => format!("mode_switch to {applied_w}x{applied_h}"),
        other => other.channel().name().to_owned(),
    }
}

/// A regular expression for a line that says the same another time: numbers may differ, what is long is cut.
fn pattern_of(line: &str, is_prompt: bool) -> String {
    let mut pattern = String::from("^");
    let mut chars = line.chars().peekable();
    let mut taken = 0;
    while let Some(char) = chars.next() {
        // After a word, where it is long enough to be told from others.
        if taken >= LONG_ENOUGH && char == ' ' && !is_prompt {
            return pattern;
        }
        taken += 1;
        match char {
            '0'..='9' => {
                while chars.next_if(char::is_ascii_digit).is_some() {}
                pattern.push_str("\\d+");
            }
            // Columns are filled up in front of numbers.
            ' ' => {
                let mut spaces = 1;
                while chars.next_if_eq(&' ').is_some() {
                    spaces += 1;
                }
                let is_filled = spaces > 1 || pattern.ends_with("\\[");
                pattern.push_str(if is_filled { " *" } else { " " });
            }
            char if char.is_control() => pattern.push('.'),
            '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                pattern.push('\\');
                pattern.push(char);
                // As in `[    0.123456]`, where the filling goes when the number grows.
                if char == '[' && chars.peek().is_some_and(char::is_ascii_digit) {
                    pattern.push_str(" *");
                }
            }
            char => pattern.push(char),
        }
    }
    pattern.push('$');
    pattern
}

/// A pattern in Lua: with its backslashes as they are.
fn quoted(text: &str) -> String {
    if !text.contains(['\\', '"']) || text.contains(['\n', '\r']) {
        return lua_string(text);
    }
    let levels = ["", "=", "==", "==="];
    let fits = |level: &&&str| {
        let close = format!("]{level}]");
        !text.contains(&close) && !format!("{text}]").ends_with(&close)
    };
    let level = levels.iter().find(fits).unwrap_or(&"====");
    format!("[{level}[{text}]{level}]")
}

fn lua_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        let _ = match char {
            '"' => write!(quoted, "\\\""),
            '\\' => write!(quoted, "\\\\"),
            '\n' => write!(quoted, "\\n"),
            '\r' => write!(quoted, "\\r"),
            '\t' => write!(quoted, "\\t"),
            char if char.is_control() => write!(quoted, "\\u{{{:x}}}", u32::from(char)),
            char => write!(quoted, "{char}"),
        };
    }
    quoted.push('"');
    quoted
}

/// Lines of Lua that type the same, and whether there is text among them.
fn inputs(strokes: &[&Stroke]) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    let mut has_text = false;
    let mut run = String::new();
    let mut shifted = false;
    let mut flush = |run: &mut String, shifted: &mut bool, lines: &mut Vec<String>| {
        let mut chars = run.chars();
        match (chars.next(), chars.next()) {
            (None, _) => {}
            (Some(' '), None) => lines.push("keyboard:press(\"space\")".to_owned()),
            (Some(char), None) if !*shifted => {
                lines.push(format!("keyboard:press({})", lua_string(&char.to_string())));
            }
            _ => {
                has_text = true;
                let chars: Vec<char> = run.chars().collect();
                let parts = chars.chunks(MOST_TYPED).map(|part| part.iter().collect::<String>());
                lines.extend(parts.map(|part| format!("keyboard:type({})", lua_string(&part))));
            }
        }
        run.clear();
        *shifted = false;
    };
    for stroke in strokes {
        match (&stroke.input, printable(&stroke.input)) {
            (_, Some((char, is_shifted))) => {
                run.push(char);
                shifted |= is_shifted;
            }
            (Input::Text(text), None) => {
                // As long as one call takes, it is one text.
                run.push_str(text);
                shifted = true;
            }
            (Input::Keys(codes), None) => {
                flush(&mut run, &mut shifted, &mut lines);
                lines.extend(pressed(codes));
            }
        }
    }
    flush(&mut run, &mut shifted, &mut lines);
    (lines, has_text)
}

/// The character that keys make on a US keyboard, and whether shift was held.
fn printable(input: &Input) -> Option<(char, bool)> {
    let Input::Keys(codes) = input else { return None };
    let (code, shifted) = match **codes {
        [code] => (code, false),
        [Scancode::SHIFT | RIGHT_SHIFT, code] => (code, true),
        _ => return None,
    };
    US.character(code, shifted).filter(|char| !char.is_control()).map(|char| (char, shifted))
}

fn pressed(codes: &[Scancode]) -> Vec<String> {
    let names: Option<Vec<String>> = codes.iter().map(|code| code.name()).collect();
    match (names, codes) {
        (Some(names), _) => vec![format!("keyboard:press({})", lua_string(&names.join("+")))],
        (None, [code]) => vec![format!("keyboard:press(0x{:02X})", code.0)],
        // Codes are taken one at a time.
        (None, codes) => {
            let half = |call: &str, code: &Scancode| format!("keyboard:{call}(0x{:02X})", code.0);
            let down = codes.iter().map(|code| half("down", code));
            down.chain(codes.iter().rev().map(|code| half("up", code))).collect()
        }
    }
}

fn lua(about: About<'_>, steps: &[Step]) -> String {
    let mut text =
        format!("-- Recorded on lane {}. Play it with: {}\n", one_line(about.lane), one_line(about.play));
    if steps.iter().any(|step| step.has_text) {
        text.push_str("-- What was typed stands here as it was typed. Secrets belong into parameters: t.params.password\n");
    }
    let code = || steps.iter().flat_map(|step| step.waits.iter().map(|wait| wait.needs));
    let mut names: Vec<&str> = code().filter(|needs| !needs.is_empty()).collect();
    if steps.iter().any(|step| !step.inputs.is_empty()) {
        names.push("keyboard");
    }
    names.sort_unstable();
    names.dedup();
    let quoted: Vec<String> = names.iter().map(|need| lua_string(need)).collect();
    let whole: Duration = steps.iter().map(Step::patience).sum();
    let needs = if quoted.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", quoted.join(", ")) };
    let name = lua_string(&format!("recorded on {}", one_line(about.lane)));
    let _ = write!(text, "\nscenario({name}, {{\n  needs = {needs},\n");
    if whole > USUAL_SCENARIO {
        let _ = writeln!(text, "  timeout = {},", whole.as_secs());
    }
    text.push_str("}, function(t)\n");
    let locals: Vec<&str> = names.iter().copied().filter(|need| *need != "screen").collect();
    if !locals.is_empty() {
        let values: Vec<String> = locals.iter().map(|local| format!("t.{local}")).collect();
        let _ = writeln!(text, "  local {} = {}", locals.join(", "), values.join(", "));
    }
    for step in steps {
        let patience = step.patience();
        let options = match patience > USUAL_STEP {
            true => format!("{{ timeout = {} }}, ", patience.as_secs()),
            false => String::new(),
        };
        let _ = writeln!(text, "\n  t:step({}, {options}function()", lua_string(&step.name));
        for line in step.inputs.iter().chain(step.waits.iter().map(|wait| &wait.code)) {
            let _ = writeln!(text, "    {line}");
        }
        if step.waits.is_empty() {
            text.push_str("    -- Nothing was seen after this: a wait for what it does belongs here.\n");
        }
        text.push_str("  end)\n");
    }
    if steps.is_empty() {
        text.push_str("  -- Nothing was typed, and nothing was seen.\n");
    }
    text.push_str("end)\n");
    text
}

impl Step {
    /// Three times what it took, in tens of seconds, and not less than usual.
    fn patience(&self) -> Duration {
        let tens = (self.took.as_secs() * 3).div_ceil(10) * 10;
        Duration::from_secs(tens).max(USUAL_STEP).min(LONGEST_STEP)
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

const RIGHT_SHIFT: Scancode = Scancode(0x36);
/// Between two words, or two thoughts.
const A_PAUSE: Duration = Duration::from_millis(500);
const A_LONG_PAUSE: Duration = Duration::from_secs(2);
/// What was on the screen for so long will be seen on a busier host, too.
const A_WHILE: Duration = Duration::from_millis(250);
/// What steps and scenarios have without being told.
const USUAL_STEP: Duration = Duration::from_secs(60);
const USUAL_SCENARIO: Duration = Duration::from_secs(120);
const LONGEST_STEP: Duration = Duration::from_secs(86_400);
/// Lines that are tried for a wait.
const MOST_LOOKED_AT: usize = 20;
/// Characters of a line after which a word's end is the end of a pattern.
const LONG_ENOUGH: usize = 20;
/// What one call types.
const MOST_TYPED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{ObservedDigest, Source};
    use visual_digest::Phase;

    /// Events and strokes, each some milliseconds after the one before.
    #[derive(Default)]
    struct Told {
        events: Vec<Arc<Event>>,
        strokes: Vec<Stroke>,
        at: Duration,
        shown: Vec<Record>,
    }

    impl Told {
        fn event(mut self, after_ms: u64, body: Body) -> Self {
            self.at += Duration::from_millis(after_ms);
            let (seq, t_ns) = (self.events.len() as u64 + 1, u64::try_from(self.at.as_nanos()).unwrap());
            let (wall, source) = (jiff::Timestamp::UNIX_EPOCH, Source::Digest);
            self.events.push(Arc::new(Event { seq, t_ns, wall, source, lane: None, body }));
            self
        }

        /// A digest with this record as its newest; it holds three.
        fn record(mut self, after_ms: u64, record: Record) -> Self {
            self.shown.push(record);
            let raw_records = self.shown[self.shown.len().saturating_sub(3)..].to_vec();
            let digest = Arc::new(ObservedDigest {
                frame_counter: 1,
                channel_hashes: None,
                raw_records,
                unknown_records: Vec::new(),
                framebuffer_hash: 0,
            });
            let framebuffer = "matches".to_owned();
            let (new_records, missed, restarted) = (1, Vec::new(), false);
            self.event(after_ms, Body::DigestUpdated { digest, framebuffer, new_records, missed, restarted })
                .event(0, Body::DigestRecord { record, frame_counter: 1 })
        }

        fn line(self, after_ms: u64, row: u32) -> Self {
            self.record(after_ms, Record::LineRendered { row, timestamp_ms: 7 })
        }

        fn serial(self, after_ms: u64, text: &str) -> Self {
            self.event(after_ms, Body::SerialLine { text: text.to_owned() })
        }

        fn keys(mut self, after_ms: u64, codes: &[u16]) -> Self {
            self.at += Duration::from_millis(after_ms);
            let input = Input::Keys(codes.iter().map(|code| Scancode(*code)).collect());
            self.strokes.push(Stroke { after: self.events.len() as u64, at: self.at, input });
            self
        }

        fn typed(mut self, text: &str) -> Self {
            for key in US.keys(text).unwrap() {
                let codes: Vec<u16> = key.codes().map(|code| code.0).collect();
                self = self.keys(100, &codes);
            }
            self
        }

        fn recorded(&self) -> Recorded {
            scenario(About { lane: "sim", play: "backstaff run x.lua" }, &self.strokes, &self.events)
        }

        /// What the steps do, without what is around it.
        fn steps(&self) -> String {
            let text = self.recorded().text;
            let lines = text.lines().filter(|line| line.starts_with("    ") || line.starts_with("  t:step"));
            lines.flat_map(|line| [line.trim_start(), "\n"]).collect()
        }
    }

    const ENTER: [u16; 1] = [0x1C];

    fn transition(to: Phase) -> Record {
        Record::SceneTransition { from: Phase::Awaiting, to, timestamp_ms: 3 }
    }

    #[test]
    fn a_burst_ends_with_what_stayed() {
        let told = Told::default()
            .keys(0, &ENTER)
            .record(50, transition(Phase::Booting))
            .line(300, 0)
            .line(300, 1)
            .line(300, 2)
            .keys(900, &[0x17])
            .record(50, Record::BootloaderTimeout { timestamp_ms: 1 })
            .line(0, 3)
            .line(0, 4)
            .line(0, 5);
        assert_eq!(
            told.steps(),
            "t:step(\"scene_transition to booting\", function()\nkeyboard:press(\"enter\")\n\
             digest:wait_for { scene_transition = { from = \"awaiting\", to = \"booting\" } }\n\
             digest:wait_for { line_rendered = { row = 2 } }\n\
             t:step(\"line_rendered in row 5\", function()\nkeyboard:press(\"i\")\n\
             digest:wait_for { line_rendered = { row = 5 } }\n",
            "what left at once is not waited for"
        );
    }

    #[test]
    fn a_wait_does_not_find_what_was_there_before() {
        // Row 1 comes twice: a wait for it would match too early, so it is for row 3.
        let told = Told::default().keys(0, &ENTER).line(10, 1).line(10, 2).line(10, 3).line(10, 1);
        assert!(told.steps().contains("row = 3 }"), "{}", told.steps());
        let told = Told::default().keys(0, &ENTER).serial(10, "ok 1").serial(10, "done").serial(10, "ok 2");
        assert!(told.steps().contains("serial:wait_for(\"^done$\")"), "{}", told.steps());
    }

    #[test]
    fn text_is_typed_and_keys_are_pressed() {
        let told = Told::default().typed("root").keys(100, &[0x0F]).typed("A").keys(9, &[0x1D, 0x2E]);
        let told = told.keys(9, &[0x39]).keys(9, &[0xE05F]).keys(9, &[0x1D, 0xE05F]).keys(9, &[0x2A]);
        assert_eq!(
            told.steps(),
            "t:step(\"keys\", function()\nkeyboard:type(\"root\")\nkeyboard:press(\"tab\")\nkeyboard:type(\"A\")\n\
             keyboard:press(\"ctrl+c\")\nkeyboard:press(\"space\")\nkeyboard:press(0xE05F)\nkeyboard:down(0x1D)\n\
             keyboard:down(0xE05F)\nkeyboard:up(0xE05F)\nkeyboard:up(0x1D)\nkeyboard:press(\"shift\")\n\
             -- Nothing was seen after this: a wait for what it does belongs here.\n"
        );
        assert!(told.recorded().has_text);
    }

    #[test]
    fn chatter_on_the_serial_port_takes_no_word_apart() {
        let told =
            Told::default().typed("ro").serial(5, "[    1.5] eth0: link up").typed("ot").keys(9, &ENTER);
        let steps = told.serial(9, "Password: ").steps();
        assert!(
            steps.contains("keyboard:type(\"root\")\nkeyboard:press(\"enter\")\nserial:wait_for("),
            "{steps}"
        );
        let told =
            Told::default().typed("a").keys(9, &ENTER).serial(9, "Password: ").typed("b").keys(9, &ENTER);
        assert_eq!(told.recorded().steps, 2, "{}", told.steps());
    }

    #[test]
    fn a_prompt_is_waited_for_as_a_prompt() {
        let prompt = |text: &str| Body::SerialPrompt { text: text.to_owned() };
        let told = Told::default().serial(1, "Debian 12").event(1, prompt("host login: ")).typed("me");
        assert!(told.steps().contains("serial:wait_for(\"^host login: $\")"), "{}", told.steps());
    }

    #[test]
    fn patterns_fit_their_line_and_others_like_it() {
        for (line, pattern, other) in [
            ("ready.", r"^ready\.$", "ready."),
            ("took 12.5 s (of 60)", r"^took \d+\.\d+ s \(of \d+\)$", "took 3.25 s (of 9)"),
            ("[    0.123456] up", r"^\[ *\d+\.\d+\] up$", "[12345.000001] up"),
            ("[12345.000001] up", r"^\[ *\d+\.\d+\] up$", "[    0.123456] up"),
            ("a\tb\u{7}", "^a.b.$", "a\tb\u{7}"),
            (
                "available GOP modes: 640x480 800x600 and more",
                "^available GOP modes:",
                "available GOP modes: 1x1",
            ),
        ] {
            let made = pattern_of(line, false);
            assert_eq!(made, pattern, "{line}");
            let regex = Regex::new(&made).unwrap();
            assert!(regex.is_match(line) && regex.is_match(other), "{made}");
        }
        assert_eq!(quoted("plain"), "\"plain\"");
        assert_eq!(quoted(r"^\d+$"), r"[[^\d+$]]");
        assert_eq!(quoted(r"\[a]"), r"[=[\[a]]=]");
        assert_eq!(quoted(r"\]]"), r"[=[\]]]=]");
    }

    #[test]
    fn where_there_are_only_pixels_they_must_rest() {
        let drawn = || Body::SurfaceDrawn { surface_id: 0, draws: 1, area: [0, 0, 1, 1] };
        let told = Told::default().keys(0, &ENTER).event(9, drawn()).keys(3000, &ENTER).event(9, drawn());
        let recorded = told.recorded();
        assert_eq!((recorded.steps, recorded.waits), (2, 2), "{}", recorded.text);
        assert!(recorded.text.contains("needs = { \"keyboard\", \"screen\" }"), "{}", recorded.text);
        let restless = Told::default().keys(0, &ENTER).event(2900, drawn()).keys(100, &ENTER);
        assert!(!restless.steps().contains("wait_for_stable"), "{}", restless.steps());
    }

    #[test]
    fn the_end_of_the_machine_is_waited_for() {
        let ended = |by_guest| Body::LaneEnded { how: "it ended".to_owned(), by_guest };
        let told = Told::default().keys(0, &ENTER).serial(9, "bye").event(9, ended(true));
        assert_eq!(
            told.steps(),
            "t:step(\"power-off\", function()\nkeyboard:press(\"enter\")\nt.lane:wait_for_shutdown()\n"
        );
        let told = Told::default().keys(0, &ENTER).serial(9, "bye").event(9, ended(false));
        assert!(!told.steps().contains("shutdown"), "{}", told.steps());
    }

    #[test]
    fn nothing_at_all_is_a_scenario_too() {
        let recorded = Told::default().recorded();
        assert_eq!((recorded.steps, recorded.waits), (0, 0));
        assert!(recorded.text.contains("needs = {},"), "{}", recorded.text);
    }
}
