use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Interrupts, Repl, ReplOptions, Served, Way, fake};
use crate::journal::{Body, Source};
use crate::report::style::Look;
use crate::script::prompt::Decision;

/// What was printed.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn repl(lines: &str, width: usize) -> (Repl, Page) {
    let page = Page::default();
    let options = ReplOptions {
        look: Look { color: false, live: false, width },
        columns: Some(width),
        history: None,
        way: Way::Blocks,
        interrupts: Interrupts::default(),
        source: None,
    };
    let lines = Box::new(Cursor::new(lines.to_owned().into_bytes()));
    (Repl::piped(options, lines, Box::new(page.clone())), page)
}

/// Plays lines at a session's prompt; a `:run` in them is held in line 3 of `a.lua`.
fn play(lines: &str, width: usize, folder: &Path) -> (String, Served, Option<Decision>, Vec<String>) {
    let (mut repl, page) = repl(lines, width);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (served, ended) = runtime.block_on(async {
        let (prompts, held) = mpsc::channel(1);
        let (session, asked) = fake::held(true, folder, None);
        let (inner, inner_asked) = fake::held(false, folder, Some(fake::timeout(&folder.join("a.lua"), 3)));
        prompts.send(session).await.unwrap();
        let answering = tokio::spawn(fake::answer(asked, Some((prompts.clone(), inner, inner_asked))));
        drop(prompts);
        let served = repl.serve(held, &CancellationToken::new()).await;
        (served, answering.await.unwrap())
    });
    let folder = folder.display().to_string();
    (page.text().replace(&folder, "[folder]"), served, ended.0, ended.1)
}

const SCRIPT: &str = "scenario(\"it\", function(t)\n  t:step(\"boot\", function()\n    t.serial:wait_for(\"ready\")\n  end)\nend)\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.lua"), SCRIPT).unwrap();
    folder
}

#[test]
fn lines_are_evaluated_and_their_values_shown() {
    let folder = folder();
    let lines = "1\n\nfor i = 1, 2 do\n  f(i)\nend\nfail\n:hepl\n:steps\n42\n";
    let (text, served, decision, seen) = play(lines, 40, folder.path());
    insta::assert_snapshot!(text, @r"
    1
    it does not work
    hint: try something else
    error: unknown command `:hepl`, did you mean `:help`?
    hint: `:help` lists the commands
    no step has begun
    42
    ");
    assert_eq!(seen, ["1", "for i = 1, 2 do\n  f(i)\nend", "fail", "42"]);
    assert_eq!(decision, Some(Decision::Abort));
    assert_eq!(served, Served { was_open: true, has_failed: true, is_left: true });
}

#[test]
fn what_is_held_inside_is_helped_and_saved() {
    let folder = folder();
    let saved = folder.path().join("b.lua");
    let lines = format!(
        ":source {0}/a.lua\n:run ti\n:run it\n:locals\nkeyboard:press(\"enter\")\n7\n:retry\n:save {1}\n:save {1}\n:history\n:quit\n",
        folder.path().display(),
        saved.display()
    );
    let (text, served, _, seen) = play(&lines, 60, folder.path());
    let text = regex_lite::Regex::new(r"\d+\.\d s").unwrap().replace_all(&text, "[took]").into_owned();
    insta::assert_snapshot!(text, @r#"
      it
    :run plays it here
    error: no scenario "ti" is loaded, did you mean "it"?
    hint: there is "it"
    HELD  "it" › boot
    [folder]/a.lua:3: serial: no match for "ready" within 1 s
           1 | scenario("it", function(t)
           2 |   t:step("boot", function()
      >    3 |     t.serial:wait_for("ready")
    the step "boot" at a.lua:3
      row = 21
      t   = t  (outer)
    7
    PASS  it [took]
    saved [folder]/b.lua: "it" with what helped, 1 line of the prompt
    backstaff run [folder]/b.lua --lane sim
    error: [folder]/b.lua is there already
    hint: `:save! [folder]/b.lua` replaces it
    nothing was typed here yet
    "#);
    assert_eq!(seen, ["inside: keyboard:press(\"enter\")", "inside: 7"]);
    assert!(served.was_open);
    let saved = std::fs::read_to_string(saved).unwrap();
    let wanted = SCRIPT.replace("    t.serial", "    t.keyboard:press(\"enter\")\n    t.serial");
    assert_eq!(saved, wanted);
}

#[test]
fn a_session_is_saved_as_a_scenario() {
    let folder = folder();
    let file = folder.path().join("logs-in.lua");
    let lines = format!(
        "digest:wait_for(any)\ndigest:latest()\nfail\nname = \"root\"\nkeyboard:type(name)\n:key enter\n:type a\\n\n:save {0}\n:save! {0}\n",
        file.display()
    );
    let (text, ..) = play(&lines, 100, folder.path());
    assert!(
        text.contains("[folder]/logs-in.lua: a scenario of what worked, 5 lines of the prompt"),
        "{text}"
    );
    insta::assert_snapshot!(std::fs::read_to_string(file).unwrap(), @r#"
    -- Saved at the prompt, on lane sim.
    scenario("logs in", { needs = { "digest", "keyboard" } }, function(t)
      local digest, keyboard = t.digest, t.keyboard

      digest:wait_for(any)
      local name = "root"
      keyboard:type(name)
      keyboard:press("enter")
      keyboard:type("a\n")
    end)
    "#);
}

#[test]
fn what_has_no_sense_here_says_so() {
    let folder = folder();
    let lines = ":retry\n:continue\n:rewind\n:run\n:source nowhere.lua\n:save x.lua\n:last\n:shot\n:events seral\n:events\n:help :nothing\n:help wait_fro\n";
    let (text, served, ..) = play(lines, 80, folder.path());
    insta::assert_snapshot!(text, @r#"
    error: nothing is held here
    hint: `:run` plays a scenario
    error: nothing is held here
    hint: `:quit` leaves the session
    error: there is no step to go back to
    hint: it takes a step that goes on, on a lane that can be saved; `:help :rewind` says more
    error: no scenario is loaded
    hint: `:source FILE` loads a script
    error: read nowhere.lua: No such file or directory (os error 2)
    error: nothing that was typed here worked and did something
    hint: calls that act are saved, such as `keyboard:press("enter")`; `:history` shows which
    nothing has failed yet
    error: this lane has no screen
    error: no stream is called `seral`, did you mean `serial`?
    hint: streams: runner lane qmp serial screen digest keyboard script agent
    no events are told; `:events on` tells those of digest and serial
    error: unknown command `:nothing`
    hint: `:help` lists the commands
    error: nothing is called `wait_fro`, did you mean `wait_for`?
    hint: `:help` lists the commands; Tab completes names
    "#);
    assert!(served.has_failed);
}

#[test]
fn help_fits_a_narrow_terminal() {
    let folder = folder();
    let (text, served, ..) = play(":help\n:help :save\n:help keyboard:press\n", 40, folder.path());
    assert!(!served.has_failed, "{text}");
    for wanted in [":retry", ":save FILE", "ctrl+alt+delete"] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let long =
        text.lines().find(|line| unicode_width::UnicodeWidthStr::width(*line) > 40 && !line.contains('('));
    assert_eq!(long, None);
}

#[test]
fn an_interrupt_ends_only_the_call_that_waits() {
    let folder = folder();
    let (mut repl, page) = repl("wait\n5\n", 80);
    let interrupts = repl.options.interrupts.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (prompts, held) = mpsc::channel(1);
        let (session, asked) = fake::held(true, folder.path(), None);
        prompts.send(session).await.unwrap();
        drop(prompts);
        assert!(!interrupts.take(), "no prompt is open");
        let _open = interrupts.open();
        let answering = tokio::spawn(fake::answer(asked, None));
        let pressing = tokio::spawn(async move {
            while !fake::WAITS.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(interrupts.take());
        });
        repl.serve(held, &CancellationToken::new()).await;
        pressing.await.unwrap();
        assert_eq!(answering.await.unwrap().1, ["wait", "5"]);
    });
    assert_eq!(page.text(), "\ncancelled\n5\n");
}

#[test]
fn an_attempt_that_ends_takes_its_prompt_with_it() {
    let folder = folder();
    let page = Page::default();
    let options = ReplOptions {
        look: Look { color: false, live: false, width: 80 },
        columns: None,
        history: None,
        way: Way::Blocks,
        interrupts: Interrupts::default(),
        source: None,
    };
    // A pipe that nobody writes to.
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut repl = Repl::piped(options, Box::new(std::io::BufReader::new(reader)), Box::new(page.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let served = runtime.block_on(async {
        let (prompts, held) = mpsc::channel(1);
        let (session, asked) = fake::held(true, folder.path(), None);
        prompts.send(session).await.unwrap();
        drop((prompts, asked));
        repl.serve(held, &CancellationToken::new()).await
    });
    assert!(served.was_open && !served.is_left);
    assert_eq!(page.text(), "the scenario has ended; the prompt closes\n");
}

#[test]
fn of_a_flood_of_events_none_is_lost() {
    let folder = folder();
    let page = Page::default();
    let (reader, writer) = std::io::pipe().unwrap();
    let (repl, _) = repl("", 80);
    let options = repl.options.clone();
    let mut repl = Repl::piped(options, Box::new(std::io::BufReader::new(reader)), Box::new(page.clone()));
    repl.streams.set([Source::Serial]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (prompts, held) = mpsc::channel(1);
        let (session, asked) = fake::held(true, folder.path(), None);
        let journal = session.journal.clone();
        prompts.send(session).await.unwrap();
        drop(prompts);
        let answering = tokio::spawn(fake::answer(asked, None));
        let cancel = CancellationToken::new();
        let serving = async { repl.serve(held, &cancel).await };
        let flood = async {
            // The feed begins with the prompt: what the first of these says is how one knows that it has begun.
            let mut sent = 0;
            while !page.text().contains("early") {
                journal.append(Source::Serial, Body::SerialLine { text: "early".to_owned() });
                sent += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            for number in 0..3_000 {
                journal.append(Source::Serial, Body::SerialLine { text: format!("flood {number}") });
            }
            let told = |text: &str| {
                let shown =
                    text.lines().filter(|line| line.contains(" flood ") || line.contains(" early")).count();
                let counted = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("… ")?.split(' ').next()?.parse::<usize>().ok());
                shown + counted.sum::<usize>()
            };
            while !page.text().contains("flood 2999") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let all = told(&page.text());
            // What came before the feed is not its matter.
            assert!(all >= 3_001 && all <= 3_000 + sent, "{all} of {}", 3_000 + sent);
            drop(writer);
        };
        tokio::join!(serving, flood);
        answering.await.unwrap();
    });
}
