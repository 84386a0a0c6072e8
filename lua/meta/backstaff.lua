---@meta backstaff

-- Everything a scenario can use, for editors. Nothing here runs. Times are seconds as numbers unless a name ends in
-- `_ms` or `_us`. A wrong argument or an unknown option raises an error of kind "usage" at the line of the call.

--------------------------------------------------------------------------------------------------------------------
-- Declaring scenarios
--------------------------------------------------------------------------------------------------------------------

---@alias backstaff.Capability "agent"|"keyboard"|"mouse"|"screen"|"digest"|"serial"|"qmp"|"snapshot"|"faults"

---@class backstaff.ScenarioOptions
---@field needs? backstaff.Capability[]  What the lane must offer; the scenario is skipped where it does not. Default: {}.
---@field tags? string[]  Labels for `--tag`. Default: {}.
---@field warm? boolean  Whether it may start from a saved machine; `false`: its machine boots. Default: true.
---@field timeout? number  Seconds an attempt may take once its lane is ready. Default: 120.
---@field lane? string  The profile it runs on, whatever `--lane` says. Default: the run's.
---@field lanes? table<string, string>  Several lanes: what the scenario calls them, and their profiles. 1 to 16. Not with `lane`. Default: one lane.
---@field only? boolean  For the moment, run nothing else; see `scenario.only`. Default: false.
---@field params? backstaff.Cases  Runs it once for each case; see `cases`. Default: runs once.

---Parameters of one case; scripts find them in `t.params`. In a list of cases, `name` is the case's name.
---@alias backstaff.CaseParams table<string, any>

---Cases in the order of a list, or by name, sorted.
---@alias backstaff.Cases backstaff.CaseParams[]|table<string, backstaff.CaseParams>

---What declares scenarios: `scenario(name, options, body)`, or `scenario.only(…)`.
---@class backstaff.Scenario
---@overload fun(name: string, options: backstaff.ScenarioOptions, body: fun(t: backstaff.Test)): backstaff.Declaration
---@overload fun(name: string, body: fun(t: backstaff.Test)): backstaff.Declaration
local Scenario = {}

---The same as `scenario`, for the moment: where one scenario is marked so, only those that are run. Refused where `CI`
---is set.
---
---Example: `scenario.only("greets", function(t) t.serial:wait_for("Hello") end)`
---@param name string  What the scenario promises; unlike those of the others in the file.
---@param options backstaff.ScenarioOptions
---@param body fun(t: backstaff.Test)  The scenario itself.
---@return backstaff.Declaration
---@overload fun(name: string, body: fun(t: backstaff.Test)): backstaff.Declaration
function Scenario.only(name, options, body) end

---A scenario that was declared.
---@class backstaff.Declaration
local Declaration = {}

---Runs the scenario once for each case. `:cases { … }` is the same.
---
---Example: `scenario("logs in", function(t) t:log(t.params.user) end).cases { { user = "root" }, { user = "guest" } }`
---@param cases backstaff.Cases  In the order in which they run, or by name.
function Declaration.cases(cases) end

---Declares a scenario. Only at the top level of a file, under a name of its own. The options may be left out.
---
---Example: `scenario("greets", { needs = { "serial" } }, function(t) t.serial:wait_for("Hello") end)`
---@type backstaff.Scenario
scenario = nil

--------------------------------------------------------------------------------------------------------------------
-- t
--------------------------------------------------------------------------------------------------------------------

---What a scenario's function gets: steps, time, concurrency, and the way to the machine.
---@class backstaff.Test
---@field mouse backstaff.Mouse  A hand on the machine's mouse. Example: `t.mouse:click()`
---@field keyboard backstaff.Keyboard  Keys and text into the machine. Example: `t.keyboard:press("enter")`
---@field digest backstaff.Digest  The digest on the screen. Example: `t.digest:wait_for(any)`
---@field serial backstaff.Serial  Text from the first serial port. Example: `t.serial:wait_for("login: $")`
---@field screen backstaff.Screen  The screen as pixels. Example: `t.screen:wait_for_stable()`
---@field agent backstaff.Agent  The SPICE agent in the guest. Example: `t.agent:copy("hello")`
---@field lane backstaff.Lane  The machine itself. Example: `t.lane:wait_for_shutdown()`
---@field lanes table<string, backstaff.Lane>  The machines of a scenario with `lanes`, by name. Example: `t.lanes.a.keyboard:press("enter")`
---@field attempt integer  Which try this is: 1, and more where `--retries` tries again. Example: `t:log("try", t.attempt)`
---@field params table<string, any>  What the scenario's case says; `--param KEY=VALUE` wins over it. Example: `local user = t.params.user or "root"`
local Test = {}

---@class backstaff.StepOptions
---@field timeout? number  Seconds; never more than is left of the step or scenario around it. Default: 60.

---A named stretch with a deadline of its own. Takes a screenshot at its end and when it fails. Steps nest. No `pcall`
---catches its deadline.
---
---Example: `t:step("login", { timeout = 20 }, function() t.serial:wait_for("login: $") end)`
---@param name string  What reports call it.
---@param options backstaff.StepOptions
---@param body fun(t: backstaff.Test): ...  What happens in it.
---@return any ...  What `body` returns.
---@overload fun(self: backstaff.Test, name: string, body: fun(t: backstaff.Test): ...): ...
function Test:step(name, options, body) end

---Waits without looking at anything. Nearly always `wait_for` on a stream is what you want.
---
---Example: `t:sleep(0.5)`
---@param seconds number  0 to 1e9.
function Test:sleep(seconds) end

---@class backstaff.EventuallyOptions
---@field timeout? number  Seconds. Default: what is left of the step; then no `pcall` catches it.
---@field interval? number  Seconds between two tries. Default: 0.05.

---Calls `question` until it returns something true, and returns that. What it raises, misses of `expect` included,
---counts as "not yet"; usage errors and the machine's end are raised at once. Raises kind "timeout" with the last try.
---
---Example: `t:eventually(function() return #t.serial:lines() > 10 end, { timeout = 5 })`
---@param question fun(): ...  What is asked again and again.
---@param options? backstaff.EventuallyOptions
---@return any ...
function Test:eventually(question, options) end

---Starts a task beside the caller. It inherits the caller's step and deadline. A failed task that nobody joined fails
---the scenario; one that still waits when the scenario ends is dropped.
---
---Example: `local task = t:spawn(function() return t.serial:wait_for("ready") end)`
---@param body fun(...): ...  The task.
---@param ... any  Arguments for `body`.
---@return backstaff.Task
function Test:spawn(body, ...) end

---Runs functions beside each other and returns the first result of each, in the order of the list. The first failure
---is raised and drops the others.
---
---Example: `local got = t:all { function() return 1 end, function() return 2 end }`
---@param functions (fun(): any)[]  Each is a task.
---@return any[]
function Test:all(functions) end

---Runs functions beside each other until one ends; the others are dropped where they wait. Returns the winner's
---position in the list and its results; raises when the first to end fails.
---
---Example: `local which = t:race { function() t.serial:wait_for("ok") end, function() t.serial:wait_for("panic") end }`
---@param functions (fun(): ...)[]  At least one.
---@return integer position  From 1.
---@return any ...
function Test:race(functions) end

---Ends the scenario as skipped; nothing of it goes on.
---
---Example: `if not t.params.user then t:skip("no --param user=…") end`
---@param reason string  Why, for the report.
function Test:skip(reason) end

---Writes a line to the report and the journal. `print` does the same.
---
---Example: `t:log("rows", rows)`
---@param ... any  What is written, with spaces between.
function Test:log(...) end

---Saves bytes as a file in the attempt's folder and returns its path relative to that.
---
---Example: `t:attach("lines.txt", table.concat(t.serial:lines(), "\n"))`
---@param name string  What the file is called, after a number.
---@param bytes string  What is in it.
---@return string path  Such as `attachments/01-lines.txt`.
function Test:attach(name, bytes) end

---Like `expect`, but a miss is only recorded: the scenario goes on, and fails at its end.
---
---Example: `t:check(#t.serial:lines()):matches(at_least(3))`
---@param value any  What is judged.
---@return backstaff.Expect
function Test:check(value) end

---@class backstaff.Finding
---@field standing "agrees"|"disagrees"|"not_judged"
---@field text string  What was seen, for people.

---@class backstaff.Reconciliation
---@field agrees boolean  Whether everything was judged and found in order.
---@field findings backstaff.Finding[]

---Compares all digests of a machine with the drain on its serial port: do they tell the same story?
---
---Example: `expect(t:reconcile(t.digest, t.serial)):agrees()`
---@param digest backstaff.Digest  Of the machine.
---@param serial backstaff.Serial  Of the same machine.
---@return backstaff.Reconciliation
function Test:reconcile(digest, serial) end

---Writes a warning to the report and the journal. It changes no verdict.
---
---Example: `if #t.serial:lines() == 0 then t:warn("the serial port is silent") end`
---@param ... any  What is written, with spaces between.
function Test:warn(...) end

---@class backstaff.AlwaysOptions
---@field interval? number  Seconds between two times that a function is asked, or QEMU's log is read; at least 0.01. Default: 0.1.
---@field lane? string  Of several lanes, the one that is watched. Default: all of them. Not with a function.

---What `t:always` watches, by stream. A matcher must match each value; rules say other things.
---@class backstaff.Streams
---@field serial? backstaff.Rule|backstaff.Wanted  Each line. A text is a regular expression.
---@field digest? backstaff.Rule|backstaff.Wanted  Each digest; `never` also each record.
---@field qmp? backstaff.Rule|backstaff.Wanted  Each event of QEMU's, as `{ name, data }`.
---@field qemu_log? backstaff.Rule|backstaff.Wanted  Each line that QEMU itself says. A text is a regular expression.

---Checks something beside the steps from here on; the moment it does not hold, the scenario fails, and no `pcall` catches
---that. A function is asked at once and then again and again: what it raises, and nothing true, means that it does not hold.
---
---Example: `t:always("no panic", { serial = never("panic"), digest = never_decreases("frame_counter") })`
---@param name string  What must hold, for the report.
---@param wanted backstaff.Streams|fun(): any  What is watched, by stream; or a function that is asked.
---@param options? backstaff.AlwaysOptions
---@return backstaff.Always
function Test:always(name, wanted, options) end

---@class backstaff.DeferOptions
---@field timeout? number  Seconds that it may take. Default: 30.

---Has a function called when the scenario's function is over, however it ended: passed, failed, at its deadline or
---cancelled. The last one is called first. What goes wrong in it is a further miss.
---
---Example: `t:defer(function() t.keyboard:up("shift") end, { timeout = 5 })`
---@param body fun()  What is called.
---@param options? backstaff.DeferOptions
function Test:defer(body, options) end

---Stops here and opens a prompt, where somebody asked for one: under `backstaff run --hold`. Otherwise does nothing.
---The machine and all deadlines stand still meanwhile.
---Example: `t:hold()`
function Test:hold() end

---A check that `t:always` started.
---@class backstaff.Always
local Always = {}

---Ends the check. What came up to now still counts.
---
---Example: `check:stop()`
function Always:stop() end

---A task that `t:spawn` started.
---@class backstaff.Task
local Task = {}

---Waits for the task and returns what it returned, or raises what it raised. Once only.
---
---Example: `local line = task:join()`
---@return any ...
function Task:join() end

--------------------------------------------------------------------------------------------------------------------
-- t.keyboard
--------------------------------------------------------------------------------------------------------------------

---A key by name ("enter", "f10", "page_up", "a"), several held together ("ctrl+alt+delete"), or an AT set 1 make code
---(0x1C; extended keys carry 0xE0 in the high byte, 0xE04B).
---@alias backstaff.Key string|integer

---Keys and text into the machine, as a person would give them.
---@class backstaff.Keyboard
local Keyboard = {}

---@class backstaff.PressOptions
---@field hold? number  Seconds the keys stay down. Default: 0.04.

---Presses a key, or several together, and lets go.
---
---Example: `t.keyboard:press("ctrl+alt+delete")`
---@param key backstaff.Key  Which, or several with `+`.
---@param options? backstaff.PressOptions
function Keyboard:press(key, options) end

---Puts a key down and leaves it there.
---
---Example: `t.keyboard:down("shift")`
---@param key backstaff.Key  Which, or several with `+`.
function Keyboard:down(key) end

---Lets go of a key.
---
---Example: `t.keyboard:up("shift")`
---@param key backstaff.Key  Which, or several with `+`.
function Keyboard:up(key) end

---@class backstaff.TypeOptions
---@field char_delay? number  Seconds from one key to the next. Default: 0.02; below 0.005 firmware loses keys.

---Types text on a keyboard of the current layout; a line end is Enter. The text is never recorded, only how long it was.
---
---Example: `t.keyboard:type("root\n")`
---@param text string  UTF-8, at most 4096 characters, all of them in the layout.
---@param options? backstaff.TypeOptions
function Keyboard:type(text, options) end

---The same as `type`, for scenarios that read better with it.
---
---Example: `t.keyboard:paste("sextant{HELLO_OPERATOR}", { char_delay = 0.02 })`
---@param text string  UTF-8, at most 4096 characters, all of them in the layout.
---@param options? backstaff.TypeOptions
function Keyboard:paste(text, options) end

---@alias backstaff.Layout "us"|"uk"|"de"

---Says what the guest takes its keyboard for, from here on: which keys text and single characters are. Returns the
---layout in force.
---
---Example: `t.keyboard:layout("de")`
---@param name? backstaff.Layout  Default: as before, "us" at first.
---@return backstaff.Layout
function Keyboard:layout(name) end

---The lock lights of the guest's keyboard.
---@class backstaff.Leds
---@field caps boolean
---@field num boolean
---@field scroll boolean

---The lock lights as the guest has them now, or `nil` as long as it has not told. Does not wait.
---
---Example: `expect(t.keyboard:leds()):matches { caps = false }`
---@return backstaff.Leds?
function Keyboard:leds() end

---@class backstaff.LedsOptions
---@field caps? boolean  Default: as it is.
---@field num? boolean  Default: as it is.
---@field scroll? boolean  Default: as it is.

---Asks the machine to light these. It presses lock keys for that, and the guest may take seconds to heed them.
---
---Example: `t.keyboard:set_leds { num = true }`
---@param options backstaff.LedsOptions
function Keyboard:set_leds(options) end

---@class backstaff.LedsWaitOptions
---@field caps? boolean  Default: either will do.
---@field num? boolean  Default: either will do.
---@field scroll? boolean  Default: either will do.
---@field timeout? number  Seconds. Default: what is left of the step; then no `pcall` catches it.

---Waits until the lock lights are so; returns at once when they are, or were since the last match. Raises "timeout",
---"machine_ended" or "lane_lost".
---
---Example: `t.keyboard:press("caps_lock") t.keyboard:wait_for_leds { caps = true, timeout = 10 }`
---@param options backstaff.LedsWaitOptions
function Keyboard:wait_for_leds(options) end

--------------------------------------------------------------------------------------------------------------------
-- t.mouse
--------------------------------------------------------------------------------------------------------------------

---@alias backstaff.Button "left"|"middle"|"right"|"side"|"extra"

---A hand on the machine's mouse.
---@class backstaff.Mouse
local Mouse = {}

---@class backstaff.MoveOptions
---@field timeout? number  Seconds to wait for a machine that takes positions. Default: 5.

---Moves the pointer to a pixel of the screen. Needs a machine that takes positions: `tablet = true` under `[input]` in the
---profile, and a guest with a driver for it, which is waited for.
---
---Example: `t.mouse:move(512, 384)`
---@param x integer  From the left edge.
---@param y integer  From the top edge.
---@param options? backstaff.MoveOptions
function Mouse:move(x, y, options) end

---Moves the mouse by so much. How far the pointer goes is up to the guest. A machine that takes positions does not heed it.
---
---Example: `t.mouse:move_by(-20, 0)`
---@param dx integer  To the right.
---@param dy integer  Down.
function Mouse:move_by(dx, dy) end

---@class backstaff.ClickOptions
---@field button? backstaff.Button  Default: "left".
---@field count? integer  1 to 100; 2 is a double click. Default: 1.
---@field hold? number  Seconds the button stays down, and up afterwards. Default: 0.04.

---Clicks where the pointer is.
---
---Example: `t.mouse:click { button = "right" }`
---@param options? backstaff.ClickOptions
function Mouse:click(options) end

---Puts a button down and leaves it there.
---
---Example: `t.mouse:down("left")`
---@param button? backstaff.Button  Default: "left".
function Mouse:down(button) end

---Lets go of a button.
---
---Example: `t.mouse:up("left")`
---@param button? backstaff.Button  Default: "left".
function Mouse:up(button) end

---@class backstaff.DragOptions
---@field button? backstaff.Button  Default: "left".
---@field steps? integer  Points on the way, 1 to 1000. Default: 10.
---@field pause? number  Seconds between two of them. Default: 0.02.
---@field timeout? number  Seconds to wait for a machine that takes positions. Default: 5.

---Presses a button at one pixel, goes straight to another, and lets go.
---
---Example: `t.mouse:drag(10, 10, 200, 10)`
---@param from_x integer  Pixels from the left edge.
---@param from_y integer  Pixels from the top edge.
---@param to_x integer  Pixels from the left edge.
---@param to_y integer  Pixels from the top edge.
---@param options? backstaff.DragOptions
function Mouse:drag(from_x, from_y, to_x, to_y, options) end

---Turns the wheel.
---
---Example: `t.mouse:scroll(-3)`
---@param notches integer  Down, or up when negative; at most 100.
function Mouse:scroll(notches) end

--------------------------------------------------------------------------------------------------------------------
-- t.digest
--------------------------------------------------------------------------------------------------------------------

---@class backstaff.WaitOptions
---@field timeout? number  Seconds. Default: what is left of the step; then no `pcall` catches it.

---@alias backstaff.Phase "awaiting"|"booting"|"parked"|"stream_exercise"

---@class backstaff.KeypressRecord
---@field unicode string  The character; "\0" for a special key.
---@field scancode integer  The UEFI scan code; 0 for a key with a character.
---@field timestamp_ms integer  Guest time.

---@class backstaff.LineRecord
---@field row integer  Text row, from 0.
---@field timestamp_ms integer  Guest time.

---@class backstaff.TransitionRecord
---@field from backstaff.Phase
---@field to backstaff.Phase
---@field timestamp_ms integer  Guest time.

---@class backstaff.DecisionRecord
---@field choice "retry"|"ignore"|"abort"
---@field attempt integer  Which showing of the prompt, from 1.
---@field timestamp_ms integer  Guest time.

---@class backstaff.PasteRecord
---@field len integer  Bytes.
---@field correct boolean
---@field timestamp_ms integer  Guest time.

---@class backstaff.BootloaderTimeoutRecord
---@field timestamp_ms integer  Guest time.

---@class backstaff.ModeSwitchRecord
---@field requested_w integer  Pixels.
---@field requested_h integer  Pixels.
---@field applied_w integer  Pixels.
---@field applied_h integer  Pixels.
---@field timestamp_ms integer  Guest time.

---@class backstaff.ModeCycleRecord
---@field count integer  Switches done.
---@field interrupted boolean  Whether a key stopped it.
---@field timestamp_ms integer  Guest time.

---One thing that happened to the guest, under its name. In lists of a digest there is no `frame_counter`.
---@class backstaff.DigestRecord
---@field frame_counter? integer  The digest in which it was seen first.
---@field keypress? backstaff.KeypressRecord
---@field line_rendered? backstaff.LineRecord
---@field scene_transition? backstaff.TransitionRecord
---@field bootloader_decision? backstaff.DecisionRecord
---@field paste_received? backstaff.PasteRecord
---@field bootloader_timeout? backstaff.BootloaderTimeoutRecord
---@field mode_switch? backstaff.ModeSwitchRecord
---@field mode_cycle? backstaff.ModeCycleRecord

---For each channel a CRC32C over all its records since boot; 0 when there was none.
---@class backstaff.ChannelHashes
---@field keypress integer
---@field line_rendered integer
---@field scene_transition integer
---@field bootloader_decision integer
---@field paste_received integer
---@field bootloader_timeout integer
---@field mode_switch integer
---@field mode_cycle integer

---@class backstaff.UnknownRecord
---@field tag integer
---@field value integer[]  Bytes.

---One refresh of the digest.
---@class backstaff.DigestFrame
---@field frame_counter integer  Which refresh since boot, from 1.
---@field channel_hashes? backstaff.ChannelHashes  Absent where a control socket does not tell them.
---@field raw_records backstaff.DigestRecord[]  The newest records that fit, oldest first.
---@field unknown_records backstaff.UnknownRecord[]
---@field framebuffer_hash integer  CRC32C of the screen around the digest, as the guest says.
---@field framebuffer? "matches"|"unsettled"|"unknown"  From `wait_for` only: whether the screen had that hash already.

---The digests on the screen.
---@class backstaff.Digest
local Digest = {}

---Waits for the next digest or record that matches, and returns it. A record is asked about as
---`{ its_name = { … }, frame_counter = … }`. Raises "timeout", "machine_ended" or "lane_lost".
---
---Example: `t.digest:wait_for { line_rendered = { row = at_least(21) } }`
---@param wanted backstaff.Wanted  A digest, or a record under its name.
---@param options? backstaff.WaitOptions
---@return backstaff.DigestFrame|backstaff.DigestRecord
function Digest:wait_for(wanted, options) end

---The newest digest, or `nil` when there was none since the machine began or was put back. Does not wait.
---
---Example: `local now = t.digest:latest()`
---@return backstaff.DigestFrame?
function Digest:latest() end

---All digests so far, oldest first, also those of a past that `t.lane:restore` undid. Does not wait.
---
---Example: `expect(t.digest:history()):increases("frame_counter")`
---@return backstaff.DigestFrame[]
function Digest:history() end

--------------------------------------------------------------------------------------------------------------------
-- t.serial
--------------------------------------------------------------------------------------------------------------------

---@class backstaff.SerialLine
---@field text string  Without line end and escape sequences.
---@field captures string[]  What the pattern's groups matched; "" for a group that took no part.

---@alias backstaff.DrainType
---| "keypress"
---| "line"
---| "transition"
---| "bootloader_decision"
---| "paste"
---| "bootloader_timeout"
---| "mode_switch"
---| "mode_cycle"
---| "refresh_stats"
---| string A type that is not known here: all its fields are strings.

---One line of the drain. Which fields there are depends on `type`.
---@class backstaff.DrainRecord
---@field type backstaff.DrainType
---@field t? integer  Guest time in milliseconds; all but `refresh_stats` have it.
---@field unicode? integer  keypress: the code point.
---@field scancode? integer  keypress: the UEFI scan code.
---@field row? integer  line: the text row, from 0.
---@field from? backstaff.Phase  transition.
---@field to? backstaff.Phase  transition.
---@field choice? "retry"|"ignore"|"abort"  bootloader_decision.
---@field attempt? integer  bootloader_decision: from 1.
---@field len? integer  paste: bytes.
---@field correct? boolean  paste.
---@field requested? string  mode_switch: such as "1280x720".
---@field applied? string  mode_switch: such as "1280x720".
---@field count? integer  mode_cycle: switches. refresh_stats: refreshes since boot.
---@field interrupted? boolean  mode_cycle.
---@field total_ms? integer  refresh_stats.
---@field mean_us? integer  refresh_stats.
---@field max_us? integer  refresh_stats.
---@field p99_us? integer  refresh_stats.

---Text from the first serial port.
---@class backstaff.Serial
local Serial = {}

---Waits for the next line, or resting prompt, that matches. A string is a regular expression, found anywhere in the
---line. Raises "timeout" with the last lines seen, "machine_ended" or "lane_lost".
---
---Example: `local mode = t.serial:wait_for("mode (\\d+)x(\\d+)").captures[1]`
---@param wanted string|backstaff.Matcher|fun(text: string): any  A string is a regular expression.
---@param options? backstaff.WaitOptions
---@return backstaff.SerialLine
function Serial:wait_for(wanted, options) end

---All complete lines so far, also those of a past that `t.lane:restore` undid. Does not wait.
---
---Example: `t:log(#t.serial:lines())`
---@return string[]
function Serial:lines() end

---Waits until the guest has written its drain to the end, and returns it, from the beginning. Drains from before the
---machine was reset or put back do not count.
---
---Example: `expect(t.serial:drain()):never_decreases("t")`
---@param options? backstaff.WaitOptions
---@return backstaff.DrainRecord[]
function Serial:drain(options) end

--------------------------------------------------------------------------------------------------------------------
-- t.screen
--------------------------------------------------------------------------------------------------------------------

---@class backstaff.Shot
---@field path string  Relative to the attempt's folder, such as `screenshots/02-desktop.png`.
---@field width integer  Pixels.
---@field height integer  Pixels.

---@class backstaff.StableOptions
---@field quiet? number  Seconds without a draw that count as stable. Default: 0.5.
---@field timeout? number  Seconds. Default: what is left of the step; then no `pcall` catches it.

---The pointer as the guest's graphics device has it. It is on no screenshot.
---@class backstaff.Cursor
---@field x integer  Where its hot spot is, in pixels from the left edge. Where the machine takes positions, guests leave it as it is.
---@field y integer  The same from the top edge.
---@field visible boolean
---@field width? integer  Pixels of the shape; this and the next four are `nil` when the guest has set none.
---@field height? integer
---@field hot_x? integer  The pixel of the shape that points.
---@field hot_y? integer
---@field hash? string  Which shape: "sha256:…" over its sides, its hot spot and its pixels.

---@class backstaff.Sound
---@field packets integer
---@field bytes integer

---What came over a channel.
---@class backstaff.Traffic
---@field messages integer
---@field bytes integer  Of the messages' bodies.
---@field draws table<string, integer>  Drawing messages by SPICE name, such as `DRAW_COPY`.
---@field images table<string, integer>  Images by SPICE name of their codec, such as `BITMAP`, `LZ_RGB`, `QUIC`.
---@field sounds table<string, backstaff.Sound>  Sound by SPICE name of its mode, such as `RAW`. It is not heard.
---@field left_out table<string, integer>  What is not supported: pixels of it are missing.

---What came over all channels.
---@class backstaff.Stats: backstaff.Traffic
---@field channels table<string, backstaff.Traffic>  By name, such as "display 0".

---The screen as pixels.
---@class backstaff.Screen
local Screen = {}

---@class backstaff.ShotOptions
---@field head? integer  Which monitor, by its place in `heads()`. Default: all of the first surface.

---Saves the screen as PNG. Raises kind "usage" when the screen is off, or has no such head.
---
---Example: `local shot = t.screen:screenshot("desktop", { head = 2 })`
---@param name? string  Part of the file's name. Default: "screenshot".
---@param options? backstaff.ShotOptions
---@return backstaff.Shot
function Screen:screenshot(name, options) end

---What a person would see on one monitor: a part of a surface.
---@class backstaff.Head
---@field display integer  Which graphics device, from 0; its channel is "display 0".
---@field x integer  Of the left edge on its surface.
---@field y integer  Of the upper edge on its surface.
---@field width integer  Pixels.
---@field height integer  Pixels.

---The monitors that show something now; none when the screen is off. Waits and digests mean the first surface. Does not
---wait.
---
---Example: `t:eventually(function() return #t.screen:heads() == 2 end)`
---@return backstaff.Head[]
function Screen:heads() end

---Waits until nothing happened on the screen for a while. A blinking cursor never rests.
---
---Example: `t.screen:wait_for_stable { quiet = 2, timeout = 30 }`
---@param options? backstaff.StableOptions
function Screen:wait_for_stable(options) end

---@class backstaff.CursorOptions
---@field head? integer  Which monitor, by its place in `heads()`. Default: the first device.

---The pointer, or `nil` on a console without one. Does not wait.
---
---Example: `expect(t.screen:cursor()):matches { visible = true }`
---@param options? backstaff.CursorOptions
---@return backstaff.Cursor?
function Screen:cursor(options) end

---What came over the console's channels since it was connected. Does not wait.
---
---Example: `expect(t.screen:stats().left_out):equals {}`
---@return backstaff.Stats
function Screen:stats() end

--------------------------------------------------------------------------------------------------------------------
-- t.agent
--------------------------------------------------------------------------------------------------------------------

---@alias backstaff.Selection "clipboard"|"primary"|"secondary"

---The SPICE agent in the guest. Needs "agent": `enabled = true` under `[agent]` in the profile, and a guest that runs one.
---Clipboard text is never recorded, only its length and hash.
---@class backstaff.Agent
local Agent = {}

---Whether the agent's port is open. Does not wait.
---
---Example: `expect(t.agent:is_connected()):is_true()`
---@return boolean
function Agent:is_connected() end

---What the agent says it can do, such as "clipboard_by_demand"; `nil` before it has said anything. Does not wait.
---
---Example: `expect(t.agent:capabilities()):contains("monitors_config")`
---@return string[]?
function Agent:capabilities() end

---Waits until the agent is there and has said what it can do.
---
---Example: `t.agent:wait_for { timeout = 60 }`
---@param options? backstaff.WaitOptions
function Agent:wait_for(options) end

---@class backstaff.SelectionOptions
---@field selection? backstaff.Selection  Default: "clipboard".

---Offers text to the guest, which gets it when something in it pastes. Line ends become the guest's. Raises kind "script"
---when no agent takes it.
---
---Example: `t.agent:copy("hello")`
---@param text string  UTF-8, at most 1 MiB.
---@param options? backstaff.SelectionOptions
function Agent:copy(text, options) end

---@class backstaff.SelectionWaitOptions
---@field selection? backstaff.Selection  Default: "clipboard".
---@field timeout? number  Seconds. Default: what is left of the step; then no `pcall` catches it.

---Waits until the guest asks for what `copy` offered.
---
---Example: `t.keyboard:press("ctrl+v") t.agent:wait_for_taken { timeout = 5 }`
---@param options? backstaff.SelectionWaitOptions
function Agent:wait_for_taken(options) end

---As what the guest offers its clipboard now: "text", "png", …; `nil` when it offers nothing. Does not wait.
---
---Example: `expect(t.agent:clipboard()):contains("text")`
---@param options? backstaff.SelectionOptions
---@return string[]?
function Agent:clipboard(options) end

---Waits until the guest offers text, fetches it and returns it. Each offer is returned once. Line ends are "\n". Raises kind
---"script" when the agent does not give it, or when it has more than 16 MiB.
---
---Example: `t.keyboard:press("ctrl+c") expect(t.agent:paste { timeout = 5 }):equals("hello")`
---@param options? backstaff.SelectionWaitOptions
---@return string
function Agent:paste(options) end

---@class backstaff.ResizeOptions
---@field timeout? number  Seconds to wait for the agent's answer; raises kind "script" when that is no. Default: does not wait.

---Asks the guest for one monitor of this size. Servers may tell the guest's graphics driver instead of the agent, which then
---does not answer: wait for `t.screen:heads()`.
---
---Example: `t.agent:resize(1024, 768)`
---@param width integer  Pixels, 1 to 16384.
---@param height integer  Pixels, 1 to 16384.
---@param options? backstaff.ResizeOptions
function Agent:resize(width, height, options) end

--------------------------------------------------------------------------------------------------------------------
-- t.lane
--------------------------------------------------------------------------------------------------------------------

---The running machine.
---@class backstaff.Lane
---@field keyboard backstaff.Keyboard  Its keyboard; `t.keyboard` where there is one lane. Example: `t.lanes.a.keyboard:press("enter")`
---@field mouse backstaff.Mouse  Its mouse. Example: `t.lanes.a.mouse:click()`
---@field digest backstaff.Digest  The digest on its screen. Example: `t.lanes.a.digest:wait_for(any)`
---@field serial backstaff.Serial  Its serial port. Example: `t.lanes.a.serial:wait_for("login: $")`
---@field screen backstaff.Screen  Its screen. Example: `t.lanes.a.screen:wait_for_stable()`
---@field agent backstaff.Agent  The SPICE agent in it. Example: `t.lanes.a.agent:wait_for()`
local Lane = {}

---The lane's name.
---
---Example: `t:log(t.lane:name())`
---@return string
function Lane:name() end

---The attempt's folder, where screenshots and attachments are.
---
---Example: `t:log(t.lane:folder())`
---@return string
function Lane:folder() end

---What the lane can do, sorted.
---
---Example: `if #t.lane:capabilities() < 6 then t:log("a plain lane") end`
---@return backstaff.Capability[]
function Lane:capabilities() end

---Stops the machine's clock and processors; what it said before has arrived by then. Needs "qmp". A wait for something
---the machine would have to do runs into its deadline.
---
---Example: `t.lane:pause()`
function Lane:pause() end

---Lets a paused machine go on; does nothing to one that runs. Needs "qmp".
---
---Example: `t.lane:resume()`
function Lane:resume() end

---Whether the machine rests, whoever made it. Needs "qmp".
---
---Example: `expect(t.lane:is_paused()):equals(false)`
---@return boolean
function Lane:is_paused() end

---Presses the reset button and returns when the machine has begun anew, also on a lane that a reset by the guest would
---end; a paused machine stays paused. What it said before lies behind all later waits. Needs "qmp".
---
---Example: `t.lane:reset() t.digest:wait_for(any)`
function Lane:reset() end

---Presses the power button and returns at once. What comes of it is the guest's business: many ignore it. Needs "qmp".
---
---Example: `t.lane:powerdown() t.lane:wait_for_shutdown { timeout = 30 }`
function Lane:powerdown() end

---Keeps the machine as it is now, its memory, devices and disks, until it ends, in place of an earlier snapshot of that
---name. It rests for a moment meanwhile. Needs "snapshot".
---
---Example: `t.lane:snapshot("logged-in")`
---@param name string  1 to 64 of the characters A-Z a-z 0-9 . _ -
function Lane:snapshot(name) end

---Puts the machine back to a snapshot of this scenario and returns when its screen shows that; a paused machine stays
---paused. What it said before lies behind all later waits. Needs "snapshot".
---
---Example: `t.lane:restore("logged-in")`
---@param name string  As it was kept.
function Lane:restore(name) end

---Sends a QMP command that the profile allows, by default those that only ask, and returns QEMU's answer: `null` is
---`nil`. Raises kind "usage" when it is not allowed, "script" with QEMU's words when QEMU refuses. Needs "qmp".
---
---Example: `local status = t.lane:qmp("query-status").status`
---@param command string  Such as "query-status".
---@param arguments? table<string, any>  An empty table in it is an object, not a list. Default: none.
---@return any
function Lane:qmp(command, arguments) end

---@alias backstaff.FaultChannel "main"|"display"|"inputs"|"cursor"

---Exactly one of the first nine says which fault it is.
---@class backstaff.FaultOptions
---@field drop_key? integer  The nth key from now on does not reach the guest. 1 to 1000000. Default: not this fault.
---@field duplicate_key? integer  The nth key from now on reaches the guest twice. 1 to 1000000. Default: not this fault.
---@field lose_line? integer  The nth serial line from now on is not said. 1 to 1000000. Default: not this fault.
---@field flip_pixel? integer[]  The pixel at `{ x, y }` is shown otherwise than it was drawn. Default: not this fault.
---@field delay? number  Seconds by which everything on the console arrives later. 0.001 to 60. Default: not this fault.
---@field throttle? integer  Bytes per second that a channel says at most. 1 to 1000000000. Default: not this fault.
---@field stall? backstaff.FaultChannel  This channel says and takes nothing. Default: not this fault.
---@field cut? backstaff.FaultChannel  This channel is closed. Without "main" the whole console is gone. Default: not this fault.
---@field malform? backstaff.FaultChannel  A message comes on this channel that is not what its type says. Default: not this fault.
---@field every? boolean  Every nth key or line instead of the nth. Default: false.
---@field count? integer  How many keys or lines in all. Default: 1, with `every`: no limit.
---@field matching? string  For `lose_line`: only lines in which this regular expression is found count. Default: all.
---@field xor? integer  For `flip_pixel`: the bits of `0xRRGGBB` that are flipped. Default: 0xFFFFFF.
---@field once? boolean  For `flip_pixel`: until the guest draws there. Default: false.
---@field channel? backstaff.FaultChannel  For `delay` and `throttle`: only there. Default: all channels.
---@field after? number  Seconds until it begins. Default: 0.
---@field seconds? number  Seconds that it lasts. Default: until it is cleared.

---Makes something go wrong. What is asked for lasts until `clear_faults` unless it says otherwise. Needs "faults".
---
---Example: `t.lane:inject { drop_key = 1 }`
---@param options backstaff.FaultOptions
function Lane:inject(options) end

---Ends all faults, also those of the profile, and those that have yet to begin. What was cut stays cut. Needs "faults".
---
---Example: `t.lane:clear_faults()`
function Lane:clear_faults() end

---Waits until the guest ends the machine: a power-off, or a reset where the lane ends with one. Raises "lane_lost" when
---something else ends it.
---
---Example: `t.lane:wait_for_shutdown { timeout = 10 }`
---@param options? backstaff.WaitOptions
function Lane:wait_for_shutdown(options) end

--------------------------------------------------------------------------------------------------------------------
-- Matchers
--------------------------------------------------------------------------------------------------------------------

---A value that answers "does it match?" and prints as what it wants.
---@class backstaff.Matcher
local Matcher = {}

---What `wait_for` and `matches` take: a matcher, a plain value, a record that matches by the keys given, a list that
---matches item by item, or a function that returns something true.
---@alias backstaff.Wanted backstaff.Matcher|string|number|boolean|table|fun(value: any): any

---Matches every value that is there.
---
---Example: `t.digest:wait_for { frame_counter = any }`
---@type backstaff.Matcher
any = nil

---Matches only what is not there.
---
---Example: `expect(record):matches { error = absent }`
---@type backstaff.Matcher
absent = nil

---Matches numbers from `limit` up.
---
---Example: `t.digest:wait_for { line_rendered = { row = at_least(21) } }`
---@param limit number  The least that matches.
---@return backstaff.Matcher
function at_least(limit) end

---Matches numbers up to `limit`.
---
---Example: `expect(#t.serial:lines()):matches(at_most(100))`
---@param limit number  The most that matches.
---@return backstaff.Matcher
function at_most(limit) end

---Matches what one of the choices matches.
---
---Example: `t.digest:wait_for { scene_transition = { to = one_of { "booting", "stream_exercise" } } }`
---@param choices backstaff.Wanted[]  Any of which will do.
---@return backstaff.Matcher
function one_of(choices) end

---Matches text in which the regular expression is found; always in linear time.
---
---Example: `expect(t.serial:lines()):contains(pattern("^Hello"))`
---@param text string  A regular expression.
---@return backstaff.Matcher
function pattern(text) end

---What must hold of a stream: for `t:always`.
---@class backstaff.Rule
local Rule = {}

---No value matches.
---
---Example: `t:always("no panic", { serial = never("panic") })`
---@param wanted backstaff.Wanted  What must not come.
---@return backstaff.Rule
function never(wanted) end

---The numbers under `key` never fall.
---
---Example: `t:always("frames", { digest = never_decreases("frame_counter") })`
---@param key string  The field that holds the numbers.
---@return backstaff.Rule
function never_decreases(key) end

---The numbers under `key` rise from value to value.
---
---Example: `t:always("frames", { digest = increases("frame_counter") })`
---@param key string  The field that holds the numbers.
---@return backstaff.Rule
function increases(key) end

--------------------------------------------------------------------------------------------------------------------
-- Expectations
--------------------------------------------------------------------------------------------------------------------

---A value about to be judged. Every judgement goes into the journal; it returns `true`, or raises kind "expectation".
---A miss fails the scenario even when it was caught.
---@class backstaff.Expect
local Expect = {}

---Judges a value: plain data, no functions. What follows says what is expected of it.
---
---Example: `expect(len):equals(23)`
---@param value any  What is judged.
---@return backstaff.Expect
function expect(value) end

---Is exactly this value, with no further keys.
---
---Example: `expect(shot.width):equals(1024)`
---@param wanted any  What it is compared with.
---@return boolean
function Expect:equals(wanted) end

---Matches: a record by the keys given, a list item by item, anything by a matcher or a function.
---
---Example: `expect(shot):matches { width = at_least(640) }`
---@param wanted backstaff.Wanted  What it must match.
---@return boolean
function Expect:matches(wanted) end

---Is `true`, not just something true.
---
---Example: `expect(done):is_true()`
---@return boolean
function Expect:is_true() end

---Is a list, one item of which matches.
---
---Example: `expect(lines):contains(pattern("ready"))`
---@param wanted backstaff.Wanted  What an item must match.
---@return boolean
function Expect:contains(wanted) end

---Is a list in which items match in this order, others between them allowed.
---
---Example: `expect(drain):has_in_order { { type = "paste" }, { type = "refresh_stats" } }`
---@param wanted backstaff.Wanted[]  At least one.
---@return boolean
function Expect:has_in_order(wanted) end

---Is a list whose numbers under `key` never fall; items without the key are passed over.
---
---Example: `expect(drain):never_decreases("t")`
---@param key string  The field that holds the numbers.
---@return boolean
function Expect:never_decreases(key) end

---Is a list whose numbers under `key` rise from item to item; items without the key are passed over.
---
---Example: `expect(t.digest:history()):increases("frame_counter")`
---@param key string  The field that holds the numbers.
---@return boolean
function Expect:increases(key) end

---Is a reconciliation that found everything in order.
---
---Example: `expect(t:reconcile(t.digest, t.serial)):agrees()`
---@return boolean
function Expect:agrees() end

---Asks again until it is as expected, at most for so many seconds. The value is a function, `t.serial` (its lines) or
---`t.digest` (the newest). `:within(2)` is the same.
---
---Example: `expect(function() return #t.serial:lines() end).within(2):equals(3)`
---@param seconds number  Seconds at most.
---@return backstaff.Within
function Expect.within(seconds) end

---A value that is asked for again until it is as expected.
---@class backstaff.Within
local Within = {}

---Becomes exactly this value.
---
---Example: `expect(t.serial).within(2):equals { "ready" }`
---@param wanted any  What it is compared with.
---@return boolean
function Within:equals(wanted) end

---Comes to match.
---
---Example: `expect(t.digest).within(5):matches { frame_counter = at_least(3) }`
---@param wanted backstaff.Wanted  What it must match.
---@return boolean
function Within:matches(wanted) end

---Becomes `true`.
---
---Example: `expect(function() return t.agent:is_connected() end).within(5):is_true()`
---@return boolean
function Within:is_true() end

---Becomes a list, one item of which matches.
---
---Example: `expect(t.serial).within(5):contains(pattern("ready"))`
---@param wanted backstaff.Wanted  What an item must match.
---@return boolean
function Within:contains(wanted) end

---Becomes a list in which items match in this order.
---
---Example: `expect(t.serial).within(5):has_in_order { "one", "two" }`
---@param wanted backstaff.Wanted[]  At least one.
---@return boolean
function Within:has_in_order(wanted) end

---Becomes a list whose numbers under `key` never fall.
---
---Example: `expect(list).within(1):never_decreases("t")`
---@param key string  The field that holds the numbers.
---@return boolean
function Within:never_decreases(key) end

---Becomes a list whose numbers under `key` rise.
---
---Example: `expect(list).within(1):increases("t")`
---@param key string  The field that holds the numbers.
---@return boolean
function Within:increases(key) end

---Becomes a reconciliation that found everything in order.
---
---Example: `expect(reconciled).within(5):agrees()`
---@return boolean
function Within:agrees() end

--------------------------------------------------------------------------------------------------------------------
-- Errors and the rest
--------------------------------------------------------------------------------------------------------------------

---@alias backstaff.ErrorKind
---| "expectation" An expectation did not hold. Fails the scenario even when caught.
---| "timeout" A wait reached its deadline.
---| "machine_ended" The guest ended the machine while something waited for it.
---| "usage" A call was wrong: an unknown option, a wrong type.
---| "script" Any other error of the script.
---| "lane_lost" The host lost the machine. Nothing goes on after it.
---| "skip" `t:skip` was called. Nothing goes on after it.
---| "cancelled" The run was cancelled. Nothing goes on after it.

---What `pcall` gives for a failure of backstaff. What the script raised itself arrives as it was.
---@class backstaff.Error
---@field kind backstaff.ErrorKind  What kind of thing happened. Example: `if caught.kind == "timeout" then t:log("too late") end`
---@field message string  What was wanted, what was got; may have several lines. Example: `local ok, caught = pcall(wait) if not ok then t:log(caught.message) end`
---@field line? integer  The script's line. Example: `t:log("at line", caught.line)`

---Writes a line to the report and the journal, like `t:log`.
---
---Example: `print("rows", rows)`
---@param ... any  What is written, with spaces between.
function print(...) end
