//! What a script sees of a real machine's console beside its pixels and keys.

use std::path::Path;

use backstaff::console::Screenshot;
use backstaff::script::FailureKind;

use super::control::Machine;
use crate::cli::rom::rom;

fn lane(rest: &str) -> String {
    format!(
        r#"kind = "qemu"

[machine]
accel = "tcg"
memory_mib = 16

[firmware]
bios = "rom.bin"

[[gate]]
kind = "qmp"
timeout = 20

[[gate]]
kind = "spice-surface"
timeout = 20

{rest}
"#
    )
}

/// Each head has a display channel of its own, with QEMU's notice on it as long as no guest draws.
#[tokio::test(flavor = "multi_thread")]
async fn every_head_is_listed_and_has_its_screenshot() {
    for device in ["std", "virtio"] {
        let profile = lane(&format!("[display]\ndevice = \"{device}\"\nheads = 2"));
        let Some(machine) = Machine::with_profile(&profile, &rom()).await else { return };
        machine
            .plays(
                r#"
                local heads = t:eventually(function()
                  local heads = t.screen:heads()
                  return #heads == 2 and heads
                end, { timeout = 20 })
                for number, head in ipairs(heads) do
                  expect(head.display):equals(number - 1)
                  local shot = t.screen:screenshot("head " .. number, { head = number })
                  expect(shot):matches { width = head.width, height = head.height, path = pattern("head-" .. number) }
                  expect(head.width):matches(at_least(100))
                end
                expect(t.screen:stats().channels["display 1"].draws):matches { DRAW_COPY = at_least(1) }
                "#,
            )
            .await;
        let failure = machine.fails("t.screen:screenshot('none', { head = 3 })").await;
        assert_eq!(failure.kind, FailureKind::Usage);
        assert_eq!(failure.message, "screen:screenshot: there is no head 3, the screen has 2 heads now");
        machine.ends().await;
    }
}

/// Firmware draws on both cards.
#[tokio::test(flavor = "multi_thread")]
async fn every_head_shows_what_screendump_shows() {
    let profile = lane("[display]\ndevice = \"std\"\nheads = 2")
        .replace("bios = \"rom.bin\"", "")
        .replace("memory_mib = 16", "memory_mib = 64");
    let Some(machine) = Machine::with_profile(&profile, &[]).await else { return };
    machine
        .plays(
            r#"
            t:eventually(function()
              local heads = t.screen:heads()
              return #heads == 2 and heads[1].width > 720 and heads[2].width > 720
            end)
            t.screen:wait_for_stable { quiet = 3 }
            t.lane:pause()
            for number = 1, 2 do
              t.screen:screenshot("head", { head = number })
              t.lane:qmp("screendump", { filename = "dump" .. number .. ".ppm", device = "video" .. number - 1 })
            end
            "#,
        )
        .await;
    let folder = machine.folder.path();
    for number in [1, 2] {
        let shot = std::fs::read(folder.join(format!("screenshots/{number:02}-head.png"))).unwrap();
        let shot = Screenshot::from_png(&shot).unwrap();
        let dump = ppm(&folder.join(format!("dump{number}.ppm")));
        assert!(shot == dump, "head {number} is not what screendump shows");
        assert!(shot.pixels.chunks(4).any(|pixel| pixel != &shot.pixels[..4]), "head {number} is empty");
    }
    machine.ends().await;
}

fn ppm(path: &Path) -> Screenshot {
    let file = std::fs::read(path).unwrap();
    let header: Vec<&[u8]> = file.splitn(4, |byte| byte.is_ascii_whitespace()).collect();
    let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse::<u32>().unwrap();
    let rgb = header[3].strip_prefix(b"255\n").unwrap();
    let pixels = rgb.chunks_exact(3).flat_map(|rgb| [rgb[2], rgb[1], rgb[0], 0]).collect();
    Screenshot { width: number(header[1]), height: number(header[2]), pixels }
}

/// A second qxl shows nothing before a driver has switched it on.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_not_switched_on_is_no_head() {
    let profile = lane("[display]\nheads = 2");
    let Some(machine) = Machine::with_profile(&profile, &rom()).await else { return };
    machine
        .plays(
            r#"
            expect(#t.screen:heads()):equals(1)
            while t.screen:stats().channels["display 1"].messages == 0 do t:sleep(0.02) end
            expect(t.screen:stats().channels["display 1"]):matches { draws = {} }
            expect(t.screen:cursor { head = 1 }):matches { visible = any }
            "#,
        )
        .await;
    machine.ends().await;
}

/// Nobody plays here, but the channel is there for who does.
#[tokio::test(flavor = "multi_thread")]
async fn a_sound_card_has_a_channel_that_is_read() {
    let profile = lane("[audio]\nenabled = true\n[agent]\nenabled = true");
    let Some(machine) = Machine::with_profile(&profile, &rom()).await else { return };
    machine
        .plays(
            r#"
            t:eventually(function() return t.screen:stats().channels["playback 0"].messages >= 1 end, { timeout = 20 })
            expect(t.screen:stats()):matches { sounds = {}, left_out = {} }
            expect(t.agent:is_connected()):equals(false)
            local ok, err = pcall(t.agent.copy, t.agent, "nobody takes it")
            expect({ ok, err.kind }):equals { false, "script" }
            expect(err.message):matches(pattern("no guest agent is connected"))
            "#,
        )
        .await;
    machine.ends().await;
}
