//! What a script sees beside pixels: the pointer, the lock lights, what came over the wires.

use backstaff::journal::{Body, Source};
use backstaff::script::{FailureKind, Outcome};

use super::machine::{TestMachine, failure};

async fn passes(source: &str) {
    let outcome = TestMachine::new().run(source).await;
    assert!(matches!(outcome, Outcome::Passed), "{outcome:?}");
}

#[tokio::test]
async fn the_pointer_is_told_with_its_shape() {
    passes(
        r#"
        local cursor = t.screen:cursor()
        expect(cursor):matches { x = 3, y = -4, visible = true, width = 1, height = 1, hot_x = 0, hot_y = -1 }
        expect(cursor.hash):matches(pattern("^sha256:[0-9a-f]{64}$"))
        "#,
    )
    .await;
}

#[tokio::test]
async fn what_came_is_told_in_all_and_by_channel() {
    passes(
        r#"
        local stats = t.screen:stats()
        expect(stats):matches { messages = 20, bytes = 200, images = { QUIC = 7 }, left_out = {} }
        expect(stats.channels["display 1"].images):equals { QUIC = 4 }
        "#,
    )
    .await;
}

#[tokio::test]
async fn lights_are_asked_for_and_waited_for() {
    passes(
        r#"
        local keyboard = t.keyboard
        expect(keyboard:leds() == nil):is_true()
        keyboard:set_leds { num = true }
        keyboard:set_leds { caps = true }
        keyboard:wait_for_leds { num = true, caps = false }
        keyboard:wait_for_leds { caps = true }
        keyboard:wait_for_leds { caps = true, num = true }
        expect(keyboard:leds()):equals { caps = true, num = true, scroll = false }
        "#,
    )
    .await;
}

#[tokio::test]
async fn lights_that_stay_out_are_named() {
    let machine = TestMachine::new();
    machine.journal.append(Source::Keyboard, Body::KeyboardLeds { caps: false, num: true, scroll: false });
    let failure = failure(machine.run("t.keyboard:wait_for_leds { caps = true, timeout = 0.05 }").await);
    assert_eq!(failure.kind, FailureKind::Timeout);
    let wanted = "keyboard:wait_for_leds: no match for { caps = true } within 0.1 s\n\
                  the lights are caps = false, num = true, scroll = false";
    assert_eq!(failure.message, wanted);
}
