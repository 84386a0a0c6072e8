//! Our server is a server to others, too: `spicy`, GTK's SPICE client, shows the simulated guest's screen on a display
//! without a monitor, and what is typed into its window tells the guest's whole story.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backstaff::console::Screenshot;
use backstaff::journal::{Body, Journal};
use backstaff::lane::sim::SimOptions;
use backstaff::lane::{Profile, SimLane};
use tokio_util::sync::CancellationToken;

/// What the test needs of the host, with the Debian package of each.
const TOOLS: [(&str, &str); 3] = [("spicy", "spice-client-gtk"), ("Xvfb", "xvfb"), ("xdotool", "xdotool")];

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_shows_the_simulated_guest_and_types_into_it() {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |tool: &str| std::env::split_paths(&paths).any(|folder| folder.join(tool).is_file());
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        return eprintln!("SKIPPED a foreign SPICE client: install {}", missing.join(" "));
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new();
    let text = "kind = \"sim\"\n[[gate]]\nkind = \"digest\"\ntimeout = 60\n";
    let profile = match Profile::parse("sim", text, &folder.path().join("sim.toml"), folder.path()).unwrap() {
        Profile::Sim(profile) => *profile,
        other => panic!("{other:?}"),
    };
    let options = SimOptions {
        profile: &profile,
        folder: folder.path(),
        is_joinable: true,
        recorder: None,
        listener: None,
    };
    let lane = SimLane::up(options, &journal, &CancellationToken::new()).await.unwrap();
    let ours = || {
        let console = lane.handle().console.unwrap();
        Screenshot::take(&*console).unwrap()
    };

    let desktop = Desktop::start(folder.path()).await;
    let mut spicy = desktop.command("spicy");
    spicy.arg("--spice-disable-audio");
    spicy.arg(format!("--uri=spice+unix://{}", folder.path().join("spice.sock").display()));
    let log = std::fs::File::create(folder.path().join("spicy.log")).unwrap();
    let _spicy = Running(spicy.stdout(Stdio::null()).stderr(log).spawn().unwrap());

    // Its window shrinks larger screens.
    desktop.until("the window shows a green guest", || desktop.is_green()).await;
    desktop.tell(&["mousemove", "320", "300", "click", "1"]).await;
    // The guest's mode that fits: from here on each pixel is there.
    desktop.tell(&["key", "1"]).await;
    desktop.until("the guest takes the mode", || ours().width == 640).await;
    desktop.until("each pixel is in the window", || desktop.shows(&ours())).await;

    let has = |wanted: &str| {
        let events = journal.all_after(Default::default());
        events.iter().any(|event| match &event.body {
            Body::DigestRecord { record, .. } => format!("{record:?}").contains(wanted),
            _ => false,
        })
    };
    desktop.tell(&["key", "Return"]).await;
    desktop.until("the prompt", || has("LineRendered { row: 21")).await;
    desktop.tell(&["key", "i"]).await;
    desktop.until("the question", || has("LineRendered { row: 25")).await;
    // With shift and without, letters and brackets.
    desktop.tell(&["type", "--delay", "30", "sextant{HELLO_OPERATOR}"]).await;
    desktop.tell(&["key", "Return"]).await;
    desktop.until("the guest's verdict on what was typed", || has("correct: true")).await;
    desktop.until("the guest at rest", || has("to: Parked")).await;
    desktop.until("each pixel of the end is in the window", || desktop.shows(&ours())).await;
    assert!(!has("correct: false"));
    lane.down().await;
}

/// A display without a monitor, whose pixels are in a file.
struct Desktop {
    folder: PathBuf,
    display: String,
    _server: Running,
}

impl Desktop {
    async fn start(folder: &Path) -> Self {
        let mut server = Command::new("Xvfb");
        server.args(["-displayfd", "1", "-screen", "0", "1280x960x24", "-nolisten", "tcp", "-fbdir"]);
        server.arg(folder).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
        let mut server = server.spawn().unwrap();
        let output = server.stdout.take().unwrap();
        let server = Running(server);
        let number = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).map(|_| line)
        });
        let number = tokio::time::timeout(PATIENCE, number).await.unwrap().unwrap().unwrap();
        Self { folder: folder.to_owned(), display: format!(":{}", number.trim()), _server: server }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.display).env("HOME", &self.folder).stdin(Stdio::null());
        for own in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
            command.env(own, &self.folder);
        }
        command.env("NO_AT_BRIDGE", "1").env_remove("WAYLAND_DISPLAY").env_remove("DBUS_SESSION_BUS_ADDRESS");
        command
    }

    /// Does something with mouse and keyboard.
    async fn tell(&self, words: &[&str]) {
        let mut xdotool = self.command("xdotool");
        xdotool.args(words);
        let status = tokio::task::spawn_blocking(move || xdotool.status()).await.unwrap().unwrap();
        assert!(status.success(), "xdotool {words:?}");
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.join("spicy.log")).unwrap_or_default();
                panic!("never: {what}; spicy says: {log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether the guest's colour is to be seen.
    fn is_green(&self) -> bool {
        let is_green = |pixel: &[u8]| pixel[1] > 100 && pixel[0] < 100 && pixel[2] < 100;
        self.screen()
            .is_some_and(|screen| screen.pixels.chunks_exact(4).filter(|pixel| is_green(pixel)).count() > 500)
    }

    /// Whether every pixel of `picture` is somewhere on the display.
    fn shows(&self, picture: &Screenshot) -> bool {
        let Some(screen) = self.screen() else { return false };
        let (outer, inner) = (screen.width as usize * 4, picture.width as usize * 4);
        let spare = |outer: u32, inner: u32| outer.checked_sub(inner).map(|spare| spare as usize);
        let sides = spare(screen.width, picture.width).zip(spare(screen.height, picture.height));
        let Some((columns, lines)) = sides else { return false };
        let rows: Vec<&[u8]> = picture.pixels.chunks_exact(inner).collect();
        let at = |x: usize, y: usize| &screen.pixels[y * outer + x * 4..][..inner];
        // Most rows are black, on the display as in the picture: the brightest tells most.
        let light = |row: &[u8]| row.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let (mark, brightest) = rows.iter().enumerate().max_by_key(|(_, row)| light(row)).unwrap();
        let places = (0..=lines).flat_map(|y| (0..=columns).map(move |x| (x, y)));
        places
            .filter(|(x, y)| at(*x, y + mark) == *brightest)
            .any(|(x, y)| rows.iter().enumerate().all(|(row, wanted)| at(x, y + row) == *wanted))
    }

    /// The whole display. The file is an X window dump: a header of 32-bit numbers, most significant byte first, colours
    /// of twelve bytes, then the rows.
    fn screen(&self) -> Option<Screenshot> {
        let file = std::fs::read(self.folder.join("Xvfb_screen0")).ok()?;
        let number = |index: usize| {
            let bytes = file.get(index * 4..index * 4 + 4)?.try_into().ok()?;
            Some(u32::from_be_bytes(bytes))
        };
        let (header, width, height) = (number(0)?, number(4)?, number(5)?);
        let (row_bytes, colours) = (number(12)? as usize, number(19)? as usize);
        let rows = file.get(header as usize + colours * 12..)?.chunks_exact(row_bytes).take(height as usize);
        let mut pixels: Vec<u8> = rows.flat_map(|row| &row[..width as usize * 4]).copied().collect();
        pixels.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 0);
        Some(Screenshot { width, height, pixels })
    }
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
