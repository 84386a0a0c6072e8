//! How long tests took in earlier runs, for whoever shares them out: `backstaff report --timings FILE` keeps it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The name in the document.
pub const TIMINGS_FORMAT: &str = "backstaff-timings";
/// The major version written; newer ones are refused.
pub const TIMINGS_VERSION: u32 = 1;

/// How long tests take, by their ids without the `#N` of a repetition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    tests: BTreeMap<String, Timing>,
}

/// How long one test takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Milliseconds: the median of attempts that passed, lanes included.
    pub took_ms: u64,
    /// How many attempts that is from.
    pub runs: u64,
}

/// Why there are no timings.
#[derive(Debug, thiserror::Error)]
pub enum TimingsError {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file does not hold what it should.
    #[error("{}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TimingsParseError,
    },
}

/// Why a text holds no timings.
#[derive(Debug, thiserror::Error)]
pub enum TimingsParseError {
    /// It is no JSON, or not of this form.
    #[error("wants {{\"format\":\"{TIMINGS_FORMAT}\",\"version\":{TIMINGS_VERSION},\"tests\":{{…}}}}")]
    Json(#[from] serde_json::Error),
    /// It is something else.
    #[error("the format is `{found}`, wanted `{TIMINGS_FORMAT}`")]
    Format {
        /// The format it names.
        found: String,
    },
    /// It was written by a newer program.
    #[error("version {found}, this program reads up to {TIMINGS_VERSION}")]
    Newer {
        /// The version found.
        found: u32,
    },
}

/// What every version has.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    tests: BTreeMap<String, Timing>,
}

impl Timings {
    /// Reads the JSON document.
    ///
    /// # Errors
    /// See [`TimingsParseError`].
    pub fn parse(text: &str) -> Result<Self, TimingsParseError> {
        let Header { format, version } = serde_json::from_str(text)?;
        if format != TIMINGS_FORMAT {
            return Err(TimingsParseError::Format { found: format });
        }
        if version > TIMINGS_VERSION {
            return Err(TimingsParseError::Newer { found: version });
        }
        let document: Document = serde_json::from_str(text)?;
        Ok(Self { tests: document.tests })
    }

    /// Reads the document from a file.
    ///
    /// # Errors
    /// See [`TimingsError`].
    pub fn load(path: &Path) -> Result<Self, TimingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TimingsError::Io { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| TimingsError::Parse { path: path.to_owned(), source })
    }

    /// The JSON document: the same bytes for the same timings, sorted by id, a line for each test.
    pub fn format(&self) -> String {
        let document = Document {
            format: TIMINGS_FORMAT.to_owned(),
            version: TIMINGS_VERSION,
            tests: self.tests.clone(),
        };
        let text = serde_json::to_string_pretty(&document).expect("timings are text and numbers");
        text + "\n"
    }

    /// How long the test of this id takes, whatever its repetition; nothing when it is not known.
    pub fn of(&self, id: &str) -> Option<Duration> {
        self.tests.get(without_repetition(id)).map(|timing| Duration::from_millis(timing.took_ms))
    }

    /// Adds what one or several new runs found: milliseconds of attempts that passed.
    ///
    /// The median of the new ones is averaged with what is known, each weighing as much as it has runs; what is known
    /// weighs at most [`MAX_WEIGHT`], so that timings follow a test that has changed.
    pub fn add(&mut self, id: &str, mut took_ms: Vec<u64>) {
        took_ms.sort_unstable();
        let Some(&median) = took_ms.get(took_ms.len().saturating_sub(1) / 2) else { return };
        let new_runs = took_ms.len() as u64;
        let id = without_repetition(id).to_owned();
        let timing = self.tests.entry(id).or_insert(Timing { took_ms: median, runs: 0 });
        let weight = timing.runs.min(MAX_WEIGHT);
        let sum = u128::from(timing.took_ms) * u128::from(weight) + u128::from(median) * u128::from(new_runs);
        let average = sum / u128::from(weight + new_runs);
        timing.took_ms = u64::try_from(average).unwrap_or(u64::MAX);
        timing.runs = timing.runs.saturating_add(new_runs);
    }

    /// All of them, sorted by id.
    pub fn tests(&self) -> impl Iterator<Item = (&str, Timing)> {
        self.tests.iter().map(|(id, timing)| (id.as_str(), *timing))
    }
}

/// How many runs what is known weighs, at most.
pub const MAX_WEIGHT: u64 = 9;

/// The id of a test without the `#N` of its repetition.
pub fn without_repetition(id: &str) -> &str {
    match id.rsplit_once('#') {
        // A `#` in the name itself is followed by the lane's name.
        Some((before, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            before
        }
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_read_back_and_know_every_repetition() {
        let mut timings = Timings::default();
        timings.add("a.lua::b@sim#2", vec![30, 10, 20]);
        timings.add("a.lua::a #1@sim", vec![5]);
        let text = timings.format();
        insta::assert_snapshot!(text, @r#"
        {
          "format": "backstaff-timings",
          "version": 1,
          "tests": {
            "a.lua::a #1@sim": {
              "took_ms": 5,
              "runs": 1
            },
            "a.lua::b@sim": {
              "took_ms": 20,
              "runs": 3
            }
          }
        }
        "#);
        let read = Timings::parse(&text).unwrap();
        assert_eq!(read, timings);
        assert_eq!(read.of("a.lua::b@sim#7"), Some(Duration::from_millis(20)));
        assert_eq!(read.of("a.lua::a #1@sim"), Some(Duration::from_millis(5)));
        assert_eq!(read.of("a.lua::c@sim"), None);
    }

    #[test]
    fn new_runs_move_what_is_known_and_old_ones_lose_their_weight() {
        let mut timings = Timings::default();
        timings.add("a", vec![100; 90]);
        timings.add("a", vec![1_100]);
        assert_eq!(timings.of("a"), Some(Duration::from_millis(200)));
        assert_eq!(timings.tests().next().unwrap().1.runs, 91);
        timings.add("a", Vec::new());
        assert_eq!(timings.of("a"), Some(Duration::from_millis(200)));
        timings.add("b", vec![u64::MAX, u64::MAX]);
        timings.add("b", vec![u64::MAX]);
        assert_eq!(timings.tests().nth(1).unwrap().1, Timing { took_ms: u64::MAX, runs: 3 });
    }

    #[test]
    fn what_is_no_timings_is_said() {
        let message = |text: &str| Timings::parse(text).unwrap_err().to_string();
        assert_eq!(message("{}"), "wants {\"format\":\"backstaff-timings\",\"version\":1,\"tests\":{…}}");
        assert_eq!(
            message("{\"format\":\"x\",\"version\":1}"),
            "the format is `x`, wanted `backstaff-timings`"
        );
        let newer = "{\"format\":\"backstaff-timings\",\"version\":2,\"tests\":7}";
        assert_eq!(message(newer), "version 2, this program reads up to 1");
        let missing = Timings::load(Path::new("no/such/file")).unwrap_err();
        assert_eq!(missing.to_string(), "read no/such/file");
    }
}
