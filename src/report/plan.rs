//! A plan for people: what is known in aligned lines, the argv an option to a line, and what is to be settled last,
//! where it is seen.

use std::io::{self, Write};

use super::style::{Look, Tone};
use crate::lane::Plan;
use crate::lane::plan::{Accelerator, InputFile, Need, SERIAL_LOG, SPICE_SOCKET, SpiceEndpoint};
use crate::lane::plan_sim::SimPlan;
use crate::lane::profile::GateKind;

/// Writes `plan` to `out`.
///
/// # Errors
/// `out` cannot be written to.
pub fn write(plan: &Plan, look: Look, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page { look, out };
    let state = match plan.is_validated() {
        true => look.paint(Tone::Good, "validated"),
        false => look.paint(Tone::Bad, "draft"),
    };
    page.line("lane", &format!("{} ({state})", look.paint(Tone::Strong, &plan.profile)))?;
    page.line("profile hash", &plan.profile_hash)?;
    page.line("argv hash", if plan.argv_hash.is_empty() { "unknown" } else { &plan.argv_hash })?;
    let resolved = plan.acceleration.resolved.map_or("undecided", Accelerator::as_str);
    page.line("acceleration", &format!("{resolved}: {}", plan.acceleration.why))?;
    if let Some(qemu) = &plan.qemu {
        page.line(
            "qemu",
            &format!("{} {}", qemu.path, qemu.version.as_deref().unwrap_or("(version unknown)")),
        )?;
        page.more(qemu.sha256.as_deref())?;
    }
    for file in plan.firmware.iter().chain(&plan.inputs) {
        page.file(file)?;
    }
    for need in &plan.needs {
        page.need(need)?;
    }
    page.line("qmp", crate::lane::plan::QMP_SOCKET)?;
    page.line("monitor", crate::lane::plan::MONITOR_SOCKET)?;
    page.line("serial", &plan.serial_config_summary())?;
    page.line(
        "spice",
        &match &plan.spice {
            SpiceEndpoint::Unix { path } => path.clone(),
            SpiceEndpoint::Tcp { port } => format!("127.0.0.1:{port}"),
        },
    )?;
    page.line("logs", &plan.development_log_root)?;
    page.line(
        "warm",
        match &plan.warmable.reason {
            None => "can be saved when ready, and put back",
            Some(reason) => reason,
        },
    )?;
    let names: Vec<&str> = plan.capabilities.iter().map(|capability| capability.name()).collect();
    page.line("capabilities", &names.join(", "))?;
    for gate in &plan.gates {
        page.line("gate", &format!("{}, {} s", gate_words(&gate.kind), gate.timeout.as_secs_f64()))?;
    }
    page.argv(&plan.argv)?;
    page.unresolved(plan)
}

/// Writes the plan of a simulated lane to `out`.
///
/// # Errors
/// `out` cannot be written to.
pub fn write_simulated(plan: &SimPlan<'_>, look: Look, out: &mut impl Write) -> io::Result<()> {
    let (profile, mut page) = (plan.0, Page { look, out });
    let state = look.paint(Tone::Good, "validated");
    page.line("lane", &format!("{} ({state})", look.paint(Tone::Strong, &profile.name)))?;
    page.line("profile hash", profile.profile_hash())?;
    page.line("machine", "simulated: the reference guest in this process, nothing of this host is needed")?;
    page.line("time scale", &profile.time_scale.to_string())?;
    page.line("compression", profile.compression.name())?;
    page.line("serial", SERIAL_LOG)?;
    page.line("spice", SPICE_SOCKET)?;
    let names: Vec<&str> = SimPlan::CAPABILITIES.iter().map(|capability| capability.name()).collect();
    page.line("capabilities", &names.join(", "))?;
    for gate in &profile.gates {
        page.line("gate", &format!("{}, {} s", gate_words(&gate.kind), gate.timeout.as_secs_f64()))?;
    }
    for fault in &profile.faults {
        page.line("fault", &fault.to_string())?;
    }
    Ok(())
}

fn gate_words(kind: &GateKind) -> String {
    match kind {
        GateKind::Qmp => "qmp".to_owned(),
        GateKind::SpiceSurface => "spice-surface".to_owned(),
        GateKind::SerialLine { pattern } => format!("serial-line {pattern:?}"),
        GateKind::Digest => "digest".to_owned(),
        GateKind::Quiet { quiet_for } => format!("quiet for {} s", quiet_for.as_secs_f64()),
    }
}

struct Page<'a, W> {
    look: Look,
    out: &'a mut W,
}

impl<W: Write> Page<'_, W> {
    fn line(&mut self, name: &str, value: &str) -> io::Result<()> {
        let name = self.look.paint(Tone::Faint, format_args!("{name:<WIDTH$}"));
        writeln!(self.out, "{name} {value}")
    }

    fn more(&mut self, value: Option<&str>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.line("", value))
    }

    fn file(&mut self, file: &InputFile) -> io::Result<()> {
        let size = file.size_bytes.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
        self.line(&file.role.to_string(), &format!("{}{size}", file.path))?;
        self.more(file.sha256.as_deref())
    }

    fn need(&mut self, need: &Need) -> io::Result<()> {
        match need {
            Need::Link { from, to, .. } => self.line("link", &format!("{to} -> {from}")),
            Need::Overlay { backing, format, to } => {
                self.line("overlay", &format!("{to} over {backing} ({})", format.as_str()))
            }
            Need::Ticket { to } => self.line("ticket", to),
        }
    }

    fn argv(&mut self, argv: &[String]) -> io::Result<()> {
        let Some((program, options)) = argv.split_first() else { return Ok(()) };
        writeln!(self.out, "\n{program}")?;
        let mut options = options.iter().peekable();
        while let Some(option) = options.next() {
            match options.next_if(|next| !next.starts_with('-')) {
                Some(value) => writeln!(self.out, "  {option} {value}")?,
                None => writeln!(self.out, "  {option}")?,
            }
        }
        Ok(())
    }

    fn unresolved(&mut self, plan: &Plan) -> io::Result<()> {
        for error in &plan.unresolved {
            let what = self.look.paint(Tone::Bad, format_args!("unresolved {}:", error.what()));
            writeln!(self.out, "\n{what} {}", error.why())?;
            if let Some(remedy) = error.hint() {
                writeln!(self.out, "  {} {remedy}", self.look.paint(Tone::Warn, "hint:"))?;
            }
        }
        Ok(())
    }
}

/// Columns of the names.
const WIDTH: usize = 18;
