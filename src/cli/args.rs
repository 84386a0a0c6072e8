//! What people can type.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::check::CheckCommand;
use super::completions::CompletionsCommand;
use super::control::ControlCommand;
use super::digest::DigestCommand;
use super::flakes::FlakesCommand;
use super::init::InitCommand;
use super::lane::LaneCommand;
use super::list::ListCommand;
use super::man::ManCommand;
use super::record::RecordCommand;
use super::repl::ReplCommand;
use super::report::ReportCommand;
use super::select::SelectArgs;
use super::serve::ServeCommand;
use super::trace::TraceCommand;
use super::types::TypesCommand;
use crate::lane::warm::WarmMode;
use crate::report::ReportTarget;

/// Tests the consoles of virtual machines: boots, watches, types, judges.
#[derive(Debug, Parser)]
#[command(name = "backstaff", version, long_version = super::version::long(), max_term_width = 100)]
#[command(after_help = "Exit codes: 0 all passed, 1 a scenario failed, 2 usage, 3 a script or profile does \
not load, 4 nothing selected, 5 flaky, where flaky fails, 16 a lane failed (the machine, not the test), 70 a bug in backstaff, 77 everything \
skipped, 124 the run's deadline passed, 128+n ended by a signal.")]
pub(super) struct Arguments {
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: ColorChoice,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run scenarios, each on a fresh lane.
    Run(Box<RunCommand>),
    /// Open a prompt on a live lane: Lua that runs at once, events as they happen, and commands.
    Repl(ReplCommand),
    /// List the tests that would run, without running any.
    List(Box<ListCommand>),
    /// Say what is wrong with scripts, without running them.
    ///
    /// Finds what is no Lua, names and option keys that do not exist, needs and lanes that no profile meets, names that are
    /// there twice, and input that nothing waits for. Functions that would only run on a lane are looked through, too. A
    /// finding that is meant so is silenced in the line above it: `-- backstaff: allow(RULE) REASON`.
    Check(CheckCommand),
    /// Print what editors need to know the Lua API: LuaCATS types.
    Types(TypesCommand),
    /// Redraw a recording without a network, and say what is in it.
    Replay(ReplayCommand),
    /// Render runs again: for people, JUnit, TAP, NDJSON, subunit, GitHub; several become one.
    Report(ReportCommand),
    /// Say why a run failed, or write the page of everything that happened in it.
    Trace(TraceCommand),
    /// Say what many runs have in common: waits near their deadlines, scenarios that do not always pass.
    Flakes(FlakesCommand),
    /// Show lanes: what runs would do, without doing it.
    Lane {
        #[command(subcommand)]
        command: LaneCommand,
    },
    /// Say what this machine can do for lanes, what is missing, and what to do about it.
    ///
    /// Each capability is proven, missing, broken or unknown. Nothing is installed and no privilege is asked for; KVM
    /// is proven by running a guest for a second, in a folder that is gone afterwards. Exits with 0 when the lane can
    /// run, 16 when it cannot.
    Doctor(DoctorCommand),
    /// Offer a console on a control socket, for programs in any language.
    Serve(ServeCommand),
    /// Ask a control socket: type, look and listen, through somebody else's client, too.
    Control(ControlCommand),
    /// Write a scenario while somebody uses a lane's console.
    Record(RecordCommand),
    /// Make a folder for scenarios that runs at once; what is there already is kept.
    Init(InitCommand),
    /// Print a script that completes backstaff's words in a shell.
    Completions(CompletionsCommand),
    /// Write the manual pages.
    Man(ManCommand),
    /// Turn a screenshot or a payload into the JSON of its digest, and back.
    #[command(after_help = "Example:\n  backstaff digest decode screenshot.png | jq .frame_counter")]
    Digest {
        #[command(subcommand)]
        command: DigestCommand,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 the lane can start, 3 something is unresolved or the profile is wrong, \
2 usage.\n\nExamples:\n  backstaff lane plan sextant\n  backstaff lane plan sextant --json | jq -r '.argv[]'"
)]
pub(super) struct LanePlanCommand {
    /// The lane; profiles are `NAME.toml` in `scenarios/lanes`, in the project's `lanes`, or in `--lane-dir`.
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    pub(super) lane_dir: Vec<PathBuf>,
    /// Where runs would put their folders; nothing is made there.
    #[arg(long, value_name = "DIR", default_value = "logs")]
    pub(super) artifacts: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  backstaff run scenarios/canonical.lua\n  \
backstaff run scenarios --filter 'tag(smoke) and not lane(sextant)' --jobs 4\n  \
backstaff run login.lua --param user=root --retries 2 --report junit=build/junit.xml\n  \
backstaff run login.lua --hold\n  backstaff run --shard 2/5 --timings timings.json")]
pub(super) struct RunCommand {
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// A parameter, in scripts `t.params.KEY`.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_param)]
    pub(super) param: Vec<(String, String)>,
    /// How many attempts run at once [default: as many lanes as memory and processors hold].
    #[arg(short, long, value_name = "N", env = "BACKSTAFF_JOBS", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) jobs: Option<u32>,
    /// How often a test that does not pass is tried again; one that passes then is flaky.
    #[arg(long, value_name = "N", env = "BACKSTAFF_RETRIES", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) retries: u32,
    /// A flaky test fails the run: exit code 5, if nothing graver happened.
    #[arg(long, env = "BACKSTAFF_FAIL_ON_FLAKY", value_parser = FalseyValueParser::new())]
    pub(super) fail_on_flaky: bool,
    /// Run each test so often.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) repeat: Option<u32>,
    /// Run all tests again and again until one fails; with `--repeat N` at most N times.
    #[arg(long)]
    pub(super) until_failure: bool,
    /// Begin nothing more after the first test that does not pass.
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Deadline of the whole run in seconds.
    #[arg(long, value_name = "SECONDS", env = "BACKSTAFF_TIMEOUT", value_parser = parse_seconds)]
    pub(super) timeout: Option<Duration>,
    /// Tests that take longer are marked as slow.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub(super) slow: Duration,
    /// Write a report: junit, tap, ndjson, subunit or html; `-` as FILE is standard output. Several: all.
    #[arg(long, value_name = "KIND=FILE", value_delimiter = ',')]
    pub(super) report: Vec<ReportTarget>,
    /// Whether scenarios start from a machine that was saved when it was ready, below `DIR/warm` of `--artifacts`.
    #[arg(long, value_name = "WHEN", default_value = "auto", env = "BACKSTAFF_WARM")]
    pub(super) warm: WarmChoice,
    /// Record what arrives from the console, for `backstaff replay`; further scenarios add their number, as in
    /// `boot-2.rec`.
    #[arg(long, value_name = "FILE")]
    pub(super) record: Option<PathBuf>,
    /// Record also what the guest's agent says, such as the text of its clipboard.
    #[arg(long, requires = "record")]
    pub(super) record_agent: bool,
    /// Where a wait or an expectation fails, pause the machine and open a prompt inside the scenario; one test at a time.
    /// Needs a terminal.
    #[arg(long)]
    pub(super) hold: bool,
    /// Show only failures and the summary. (`-v` shows the steps also of tests that run at the same time.)
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 replayed, 1 a channel cannot be replayed to its end, 2 a file cannot be read \
or written, or usage, 3 it is no recording, or is damaged.\n\nExamples:\n  backstaff run scenarios/smoke.lua \
--record smoke.rec\n  backstaff replay smoke.rec --screenshots screens\n  backstaff replay smoke.rec --json | jq \
-r '.screens[-1].sha256'"
)]
pub(super) struct ReplayCommand {
    /// A recording, as `backstaff run --record FILE` makes it.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Write a PNG of every settled screen into this folder.
    #[arg(long, value_name = "DIR")]
    pub(super) screenshots: Option<PathBuf>,
    /// A screen is settled when nothing was drawn for so long in recorded time, or nothing follows.
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds)]
    pub(super) pause: Duration,
    /// Print a JSON document instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum WarmChoice {
    /// Where the lane can be saved; it is as soon as it was ready once.
    Auto,
    /// Every scenario boots its machine.
    Off,
    /// As auto, and each restored machine is compared with one that was booted.
    Verify,
}

impl From<WarmChoice> for WarmMode {
    fn from(choice: WarmChoice) -> Self {
        match choice {
            WarmChoice::Auto => Self::Auto,
            WarmChoice::Off => Self::Off,
            WarmChoice::Verify => Self::Verify,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  backstaff doctor\n  backstaff doctor --lane sextant --artifacts build/logs\n  \
backstaff doctor --json | jq -r '.capabilities[] | select(.state != \"proven\").name'"
)]
pub(super) struct DoctorCommand {
    /// Print a JSON document instead of a table.
    #[arg(long)]
    pub(super) json: bool,
    /// The lane that is to run [default: the one that `backstaff run` would take, or else any QEMU lane].
    #[arg(long, value_name = "NAME", env = "BACKSTAFF_LANE")]
    pub(super) lane: Option<String>,
    /// A further folder with lane profiles, searched first.
    #[arg(long, value_name = "DIR")]
    pub(super) lane_dir: Vec<PathBuf>,
    /// Where runs would make their folders.
    #[arg(long, value_name = "DIR", default_value = "logs")]
    pub(super) artifacts: PathBuf,
}

pub(super) fn parse_param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("wants KEY=VALUE, such as user=root".to_owned()),
    }
}

pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "wants a number of seconds, such as 600".to_owned())?;
    if seconds > 0.0 && seconds <= 1e7 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("wants more than 0 and at most 10,000,000 seconds".to_owned())
    }
}
