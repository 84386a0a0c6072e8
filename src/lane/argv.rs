//! The argv of a plan. Pure; knows QEMU's syntax and nothing about where values come from.
//!
//! Order: machine and accelerator, what holds for any machine, CPU and memory, storage (firmware first),
//! network, display and SPICE, QMP before serial, a tablet, the agent's port, sound, the name last.
//!
//! Commas: paths given by users appear only where QEMU takes a value as it is (`-bios`, `-kernel`) or inside
//! JSON. Names and types that land in comma-separated lists were checked when the profile was read.

use serde::Serialize;

use super::plan::{
    Accelerator, MONITOR_SOCKET, QMP_SOCKET, ResolvedFirmware, SERIAL_LOG, SPICE_SOCKET, Storage,
    TICKET_FILE, VARS_OVERLAY, disk_overlay,
};
use super::profile::{
    Disk, DiskBus, Display, Network, NetworkModel, QemuProfile, ResetPolicy, Spice, SpiceTransport,
};

/// What the argv needs to know of the host.
pub(super) struct Host<'a> {
    /// The program.
    pub(super) qemu: &'a str,
    pub(super) has_sandbox: bool,
    pub(super) accelerator: Accelerator,
}

/// Renders the argv, program first.
pub(super) fn render(
    profile: &QemuProfile,
    host: &Host<'_>,
    firmware: &ResolvedFirmware,
    storage: &Storage,
) -> Vec<String> {
    let mut argv = Argv(vec![host.qemu.to_owned()]);
    machine(&mut argv, profile, host, firmware);
    self::firmware(&mut argv, firmware);
    if let Some(kernel) = &storage.kernel {
        argv.option("-kernel", kernel.opened());
    }
    for (index, (disk, source)) in profile.disks.iter().zip(&storage.disks).enumerate() {
        let ide_port = profile.disks[..index].iter().filter(|earlier| earlier.bus == DiskBus::Ide).count();
        let place = match disk.bus {
            DiskBus::Virtio => String::new(),
            DiskBus::Ide => ide_place(&profile.machine.machine_type, ide_port),
        };
        self::disk(&mut argv, index, disk, source.opened(), &place);
    }
    for (index, network) in profile.networks.iter().enumerate() {
        self::network(&mut argv, index, *network);
    }
    display(&mut argv, profile.display, profile.heads);
    spice(&mut argv, &profile.spice);
    monitors(&mut argv);
    if profile.serial_log {
        // A machine that is put back goes on writing where the one that was saved stopped.
        argv.option("-chardev", format!("file,id=serial0,path={SERIAL_LOG},append=on"));
        argv.option("-device", "isa-serial,id=com1,chardev=serial0");
    }
    if profile.tablet {
        argv.option("-device", format!("{USB_CONTROLLER},id=usb0"));
        argv.option("-device", format!("{TABLET},id=tablet0,bus=usb0.0"));
    }
    if profile.agent {
        argv.option("-device", "virtio-serial-pci,id=virtio-serial0");
        argv.option("-chardev", "spicevmc,id=vdagent,name=vdagent");
        argv.option("-device", "virtserialport,bus=virtio-serial0.0,chardev=vdagent,name=com.redhat.spice.0");
    }
    if profile.audio {
        argv.option("-audiodev", "spice,id=audio0");
        argv.option("-device", "intel-hda,id=sound0");
        argv.option("-device", "hda-duplex,bus=sound0.0,audiodev=audio0");
    }
    argv.option("-name", format!("guest={}", profile.name));
    argv.0
}

/// QEMU's name of a disk's device.
pub(super) fn disk_device(bus: DiskBus) -> &'static str {
    match bus {
        DiskBus::Virtio => "virtio-blk-pci",
        DiskBus::Ide => "ide-hd",
    }
}

/// QEMU's name of a network card.
pub(super) fn network_device(model: NetworkModel) -> &'static str {
    match model {
        NetworkModel::Virtio => "virtio-net-pci",
        NetworkModel::E1000e => "e1000e",
    }
}

/// QEMU's name of what a tablet is plugged into.
pub(super) const USB_CONTROLLER: &str = "qemu-xhci";
/// QEMU's name of a pointer that takes absolute positions: what most guests have a driver for.
pub(super) const TABLET: &str = "usb-tablet";

/// QEMU's name of a graphics card.
pub(super) fn graphics_model(display: Display) -> Option<&'static str> {
    match display {
        Display::Qxl => Some("qxl-vga"),
        Display::Std => Some("VGA"),
        Display::Virtio => Some("virtio-vga"),
        Display::None => None,
    }
}

/// How many IDE disks a board takes: q35 has six ports of one disk each, pc two channels of two.
pub(super) fn ide_ports(machine_type: &str) -> usize {
    if is_pc(machine_type) { 4 } else { 6 }
}

fn ide_place(machine_type: &str, port: usize) -> String {
    match is_pc(machine_type) {
        true => format!(",bus=ide.{},unit={}", port / 2, port % 2),
        false => format!(",bus=ide.{port}"),
    }
}

fn is_pc(machine_type: &str) -> bool {
    machine_type == "pc" || machine_type.starts_with("pc-i440fx-")
}

struct Argv(Vec<String>);

impl Argv {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn option(&mut self, flag: &str, value: impl Into<String>) {
        self.0.push(flag.to_owned());
        self.0.push(value.into());
    }
}

fn machine(argv: &mut Argv, profile: &QemuProfile, host: &Host<'_>, firmware: &ResolvedFirmware) {
    let machine = &profile.machine;
    let mut board = format!("{},accel={}", machine.machine_type, host.accelerator.as_str());
    if matches!(firmware, ResolvedFirmware::Flash { .. }) {
        board.push_str(",pflash0=firmware-code,pflash1=firmware-vars");
    }
    argv.option("-machine", board);
    argv.flag("-nodefaults");
    argv.flag("-no-user-config");
    argv.option("-msg", "timestamp=on");
    if host.has_sandbox {
        let sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
        argv.option("-sandbox", sandbox);
    }
    // Paused, so that a SPICE client can be there before the firmware draws.
    argv.flag("-S");
    if profile.reset == ResetPolicy::Exit {
        argv.flag("-no-reboot");
    }
    if let Some(cpu) = &machine.cpu {
        argv.option("-cpu", cpu.clone());
    }
    argv.option("-smp", machine.cpus.to_string());
    argv.option("-m", machine.memory_mib.to_string());
}

fn firmware(argv: &mut Argv, firmware: &ResolvedFirmware) {
    match firmware {
        ResolvedFirmware::Bios(image) => argv.option("-bios", image.opened()),
        ResolvedFirmware::Flash { code, vars } => {
            argv.option("-blockdev", BlockNode::image("firmware-code", "raw", code.opened()).json());
            let base = BlockNode::image("firmware-vars-base", "raw", vars.opened());
            argv.option("-blockdev", BlockNode::overlay("firmware-vars", VARS_OVERLAY, &base).json());
        }
    }
}

fn disk(argv: &mut Argv, index: usize, disk: &Disk, opened: &str, place: &str) {
    let node = format!("disk{index}");
    let (format, device) = (disk.format.as_str(), disk_device(disk.bus));
    let block = if disk.readonly {
        BlockNode::image(&node, format, opened).json()
    } else {
        let (base, overlay) = (format!("{node}-base"), disk_overlay(index));
        BlockNode::overlay(&node, &overlay, &BlockNode::image(&base, format, opened)).json()
    };
    argv.option("-blockdev", block);
    argv.option("-device", format!("{device}{place},id=drive{index},drive={node},bootindex={}", index + 1));
}

fn network(argv: &mut Argv, index: usize, network: Network) {
    let restrict = if network.restrict { "on" } else { "off" };
    let model = network_device(network.model);
    argv.option("-netdev", format!("user,id=net{index},restrict={restrict}"));
    argv.option("-device", format!("{model},id=nic{index},netdev=net{index}"));
}

fn display(argv: &mut Argv, display: Display, heads: u8) {
    argv.option("-display", "none");
    let Some(model) = graphics_model(display) else { return };
    // Cards of one head each, or one card with several.
    let further = match display {
        Display::Qxl => "qxl",
        Display::Std => "secondary-vga",
        Display::Virtio | Display::None => {
            let outputs = if heads > 1 { format!(",max_outputs={heads}") } else { String::new() };
            return argv.option("-device", format!("{model},id=video0{outputs}"));
        }
    };
    argv.option("-device", format!("{model},id=video0"));
    for head in 1..heads {
        argv.option("-device", format!("{further},id=video{head}"));
    }
}

fn spice(argv: &mut Argv, spice: &Spice) {
    let mut options = match spice.transport {
        SpiceTransport::Unix => format!("unix=on,addr={SPICE_SOCKET}"),
        SpiceTransport::Tcp { port } => format!("addr=127.0.0.1,port={port}"),
    };
    if spice.ticket {
        argv.option("-object", format!("secret,id=spice-ticket,file={TICKET_FILE}"));
        options.push_str(",disable-ticketing=off,password-secret=spice-ticket");
    } else {
        options.push_str(",disable-ticketing=on");
    }
    options.push_str(&format!(
        ",image-compression={},jpeg-wan-compression={},zlib-glz-wan-compression={},streaming-video={}",
        spice.compression.as_str(),
        spice.jpeg.as_str(),
        spice.zlib_glz.as_str(),
        spice.streaming.as_str(),
    ));
    options.push_str(",playback-compression=off");
    argv.option("-spice", options);
}

/// One for us and one for people: QEMU serves one client on each.
fn monitors(argv: &mut Argv) {
    for (index, socket) in [QMP_SOCKET, MONITOR_SOCKET].into_iter().enumerate() {
        argv.option("-chardev", format!("socket,id=qmp{index},path={socket},server=on,wait=off"));
        argv.option("-mon", format!("id=monitor{index},chardev=qmp{index},mode=control"));
    }
}

/// A `-blockdev` value. A struct, not a JSON map, so that the order of its keys is fixed.
#[derive(Serialize)]
struct BlockNode<'a> {
    driver: &'a str,
    #[serde(rename = "node-name")]
    node_name: &'a str,
    #[serde(rename = "read-only")]
    read_only: bool,
    file: FileNode<'a>,
    #[serde(skip_serializing_if = "Backing::is_unsaid")]
    backing: Backing<'a>,
}

#[derive(Serialize)]
struct FileNode<'a> {
    driver: &'a str,
    filename: &'a str,
}

/// What a block node lies over.
#[derive(Serialize)]
#[serde(untagged)]
enum Backing<'a> {
    /// Its format knows of no such thing.
    Unsaid,
    /// Nothing, whatever the image says.
    Nothing,
    Node(&'a BlockNode<'a>),
}

impl Backing<'_> {
    fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid)
    }
}

impl<'a> BlockNode<'a> {
    /// An image that is only read.
    fn image(node_name: &'a str, driver: &'a str, filename: &'a str) -> Self {
        let backing = if driver == "qcow2" { Backing::Nothing } else { Backing::Unsaid };
        Self { driver, node_name, read_only: true, file: FileNode { driver: "file", filename }, backing }
    }

    /// What takes the writes to `base`.
    fn overlay(node_name: &'a str, filename: &'a str, base: &'a BlockNode<'a>) -> Self {
        let file = FileNode { driver: "file", filename };
        Self { driver: "qcow2", node_name, read_only: false, file, backing: Backing::Node(base) }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and booleans always serialise")
    }
}
