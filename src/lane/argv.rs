//! The argv of a plan. Pure; knows QEMU's syntax and nothing about where values come from.
//!
//! Order: machine and accelerator, what holds for any machine, CPU and memory, storage (firmware first),
//! network, display and SPICE, QMP before serial, the name last.
//!
//! Commas: paths given by users appear only where QEMU takes a value as it is (`-bios`, `-kernel`) or inside
//! JSON. Names and types that land in comma-separated lists were checked when the profile was read.

use serde::Serialize;

use super::plan::{
    Accelerator, QMP_SOCKET, ResolvedFirmware, SERIAL_LOG, SPICE_SOCKET, Storage, TICKET_FILE, VARS_COPY,
};
use super::platform::Platform;
use super::profile::{
    Disk, DiskBus, Display, Network, NetworkModel, QemuProfile, ResetPolicy, Spice, SpiceTransport,
};

/// Renders the argv, program first.
pub(super) fn render(
    profile: &QemuProfile,
    platform: &Platform,
    accelerator: Accelerator,
    storage: &Storage,
) -> Vec<String> {
    let mut argv = Argv(vec![platform.qemu.clone()]);
    machine(&mut argv, profile, platform, accelerator, storage);
    firmware(&mut argv, &storage.firmware);
    if let Some(kernel) = &profile.kernel {
        argv.option("-kernel", kernel.clone());
    }
    for (index, (disk, source)) in profile.disks.iter().zip(&storage.disks).enumerate() {
        let ide_port = profile.disks[..index].iter().filter(|earlier| earlier.bus == DiskBus::Ide).count();
        self::disk(&mut argv, index, disk, &source.opened, ide_port);
    }
    for (index, network) in profile.networks.iter().enumerate() {
        self::network(&mut argv, index, *network);
    }
    display(&mut argv, profile.display);
    spice(&mut argv, &profile.spice);
    qmp(&mut argv);
    if profile.serial_log {
        argv.option("-chardev", format!("file,id=serial0,path={SERIAL_LOG},append=on"));
        argv.option("-device", "isa-serial,id=com1,chardev=serial0");
    }
    argv.option("-name", format!("guest={}", profile.name));
    argv.0
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

fn machine(
    argv: &mut Argv,
    profile: &QemuProfile,
    platform: &Platform,
    accelerator: Accelerator,
    storage: &Storage,
) {
    let machine = &profile.machine;
    let mut board = format!("{},accel={}", machine.machine_type, accelerator.as_str());
    if matches!(storage.firmware, ResolvedFirmware::Flash(_)) {
        board.push_str(",pflash0=firmware-code,pflash1=firmware-vars");
    }
    argv.option("-machine", board);
    argv.flag("-nodefaults");
    argv.flag("-no-user-config");
    argv.option("-msg", "timestamp=on");
    if platform.has_sandbox {
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
        ResolvedFirmware::Bios(path) => argv.option("-bios", path.clone()),
        ResolvedFirmware::Flash(pair) => {
            argv.option("-blockdev", BlockNode::json("firmware-code", "raw", true, &pair.code));
            argv.option("-blockdev", BlockNode::json("firmware-vars", "raw", false, VARS_COPY));
        }
    }
}

fn disk(argv: &mut Argv, index: usize, disk: &Disk, opened: &str, ide_port: usize) {
    let node = format!("disk{index}");
    argv.option("-blockdev", BlockNode::json(&node, disk.format.as_str(), disk.readonly, opened));
    let model = match disk.bus {
        DiskBus::Virtio => "virtio-blk-pci".to_owned(),
        DiskBus::Ide => format!("ide-hd,bus=ide.{ide_port}"),
    };
    argv.option("-device", format!("{model},id=drive{index},drive={node},bootindex={}", index + 1));
}

fn network(argv: &mut Argv, index: usize, network: Network) {
    let restrict = if network.restrict { "on" } else { "off" };
    let model = match network.model {
        NetworkModel::Virtio => "virtio-net-pci",
        NetworkModel::E1000e => "e1000e",
    };
    argv.option("-netdev", format!("user,id=net{index},restrict={restrict}"));
    argv.option("-device", format!("{model},id=nic{index},netdev=net{index}"));
}

fn display(argv: &mut Argv, display: Display) {
    argv.option("-display", "none");
    if let Some(model) = graphics_model(display) {
        argv.option("-device", format!("{model},id=video0"));
    }
}

/// QEMU's name of the graphics card.
pub(super) fn graphics_model(display: Display) -> Option<&'static str> {
    match display {
        Display::Qxl => Some("qxl-vga"),
        Display::Std => Some("VGA"),
        Display::Virtio => Some("virtio-vga"),
        Display::None => None,
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

fn qmp(argv: &mut Argv) {
    argv.option("-chardev", format!("socket,id=qmp0,path={QMP_SOCKET},server=on,wait=off"));
    argv.option("-mon", "id=monitor0,chardev=qmp0,mode=control");
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
}

#[derive(Serialize)]
struct FileNode<'a> {
    driver: &'a str,
    filename: &'a str,
}

impl BlockNode<'_> {
    fn json(node_name: &str, driver: &str, read_only: bool, filename: &str) -> String {
        let node = BlockNode { driver, node_name, read_only, file: FileNode { driver: "file", filename } };
        serde_json::to_string(&node).expect("strings and booleans always serialise")
    }
}
