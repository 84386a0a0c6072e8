//! How much room there is: memory, processors, disk, and names of sockets.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, Mode, OFlags};
use serde::Serialize;

use crate::lane::plan::{QMP_SOCKET, SPICE_SOCKET};
use crate::lane::unix_socket::MOST_PATH_BYTES;

/// What lanes of one kind can have side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// What the system, and the control group we are in, would still give.
    pub memory_available_bytes: u64,
    /// Processors that we may use.
    pub cores: u64,
    /// What is reckoned for a lane: QEMU itself and all of the guest's memory.
    pub bytes_per_lane: u64,
    /// How many lanes the memory holds.
    pub lanes_by_memory: u64,
    /// How many lanes the processors hold under emulation.
    pub lanes_by_cores: u64,
    /// The smaller of the two.
    pub lanes: u64,
}

impl Capacity {
    pub(super) fn new(memory: &Memory, cores: usize, guest_mib: u32) -> Self {
        let cores = u64::try_from(cores).unwrap_or(u64::MAX);
        let bytes_per_lane = LANE_BYTES + u64::from(guest_mib) * MIB;
        let lanes_by_memory = memory.available_bytes / bytes_per_lane;
        let lanes_by_cores = cores.saturating_mul(LANES_PER_CORE);
        Self {
            memory_available_bytes: memory.available_bytes,
            cores,
            bytes_per_lane,
            lanes_by_memory,
            lanes_by_cores,
            lanes: lanes_by_memory.min(lanes_by_cores),
        }
    }
}

/// Memory that could still be had.
pub(super) struct Memory {
    pub(super) available_bytes: u64,
    /// Whether a control group gives less than the system has.
    pub(super) is_limited: bool,
}

impl Memory {
    /// Reads what the system below `root` says.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(root.join("proc/meminfo"))?;
        let available = field(&text, "MemAvailable:").and_then(|kib| kib.checked_mul(1024));
        let available = available.ok_or_else(|| io::Error::other("/proc/meminfo has no MemAvailable"))?;
        let left = groups(root).into_iter().filter_map(|group| group.left()).min();
        let available_bytes = left.map_or(available, |left| left.min(available));
        Ok(Self { available_bytes, is_limited: available_bytes < available })
    }
}

/// Where a control group's memory is accounted, and how its version names things.
struct Group {
    folder: PathBuf,
    limit: &'static str,
    used: &'static str,
    /// What could be given back at once: pages of files that nobody used lately.
    idle: &'static str,
}

impl Group {
    /// What it would still give; nothing without a limit.
    fn left(&self) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let limit = number(self.limit).filter(|&limit| limit < NO_LIMIT)?;
        let idle = read("memory.stat").and_then(|text| field(&text, self.idle)).unwrap_or(0);
        Some(limit.saturating_sub(number(self.used)?.saturating_sub(idle)))
    }
}

/// Ours and all above it, in both versions. A group that cannot be seen from here limits nothing that we know of.
fn groups(root: &Path) -> Vec<Group> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mounts, limit, used, idle): (&[&str], _, _, _) = match controllers {
            "" => (&["", "unified"], "memory.max", "memory.current", "inactive_file"),
            list if list.split(',').any(|controller| controller == "memory") => {
                (&["memory"], "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            }
            _ => continue,
        };
        // From inside a namespace a path may lead upwards; then only the mount itself is of use.
        let path = path.trim_start_matches('/');
        let is_inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let path = Path::new(if is_inside { path } else { "" });
        for mount in mounts {
            let mount = root.join("sys/fs/cgroup").join(mount);
            let folders = path.ancestors().map(|part| mount.join(part));
            groups.extend(folders.map(|folder| Group { folder, limit, used, idle }));
        }
    }
    groups
}

/// The number behind a word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next()? == name).then(|| words.next()?.parse().ok())?)
}

/// The nearest folder upwards that is there, `path` itself if it is.
///
/// # Errors
///
/// When what is there is no folder, or cannot be looked at.
pub(super) fn nearest_folder(path: &Path) -> io::Result<&Path> {
    for folder in path.ancestors() {
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => return Ok(folder),
            Ok(_) => return Err(io::Error::other(format!("{} is no folder", folder.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::other(format!("{}: {error}", folder.display()))),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Bytes that we may still write below the folder.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Whether files can be made in the folder, found out without making one.
pub(super) fn check_writable(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Whether a folder's descriptor is a name for it, as it is when a lane's sockets are connected to.
pub(super) fn check_descriptors_are_names(root: &Path, folder: &Path) -> io::Result<()> {
    let handle = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let named = fs::metadata(root.join(format!("proc/self/fd/{}/.", handle.as_raw_fd())))?;
    let itself = fs::metadata(folder)?;
    match (named.dev(), named.ino()) == (itself.dev(), itself.ino()) {
        true => Ok(()),
        false => Err(io::Error::other("the descriptor leads to another folder")),
    }
}

/// How long the names of sockets get: the whole path at least, and the part that counts.
pub(super) struct SocketNames {
    pub(super) whole_path_bytes: usize,
    pub(super) name_bytes: usize,
}

impl SocketNames {
    pub(super) fn below(artifacts: &Path) -> Self {
        let name_bytes = QMP_SOCKET.len().max(SPICE_SOCKET.len());
        Self { whole_path_bytes: artifacts.as_os_str().len() + 1 + name_bytes, name_bytes }
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.whole_path_bytes > MOST_PATH_BYTES
    }
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let in_unit = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..MIB => format!("{:.0} KiB", in_unit(1024)),
        MIB..TEN_MIB => format!("{:.1} MiB", in_unit(MIB)),
        TEN_MIB..GIB => format!("{:.0} MiB", in_unit(MIB)),
        _ => format!("{:.1} GiB", in_unit(GIB)),
    }
}

pub(super) const MIB: u64 = 1_048_576;
const TEN_MIB: u64 = 10 * MIB;
pub(super) const GIB: u64 = 1024 * MIB;
/// Resident memory of a QEMU with the reference guest, measured: 114 to 127 MiB, hardly more with more guest memory.
/// Guests that touch theirs need it on top.
const LANE_BYTES: u64 = 125 * MIB;
/// Measured with the reference guest under emulation: 8 to 12 on two processors answer keys without delay, and leave
/// room for other work.
pub(super) const LANES_PER_CORE: u64 = 4;
/// Version 1 of control groups has a number for "no limit", near the largest.
const NO_LIMIT: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Capacity, GIB, MIB, Memory, SocketNames, nearest_folder, size};

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        folder
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable:    2097152 kB\n");

    fn available(files: &[(&str, &str)]) -> (u64, bool) {
        let root = root(&[&[MEMINFO][..], files].concat());
        let memory = Memory::read(root.path()).unwrap();
        (memory.available_bytes, memory.is_limited)
    }

    #[test]
    fn without_groups_memory_is_what_the_system_has() {
        assert_eq!(available(&[]), (2 * GIB, false));
        let unlimited = [
            ("proc/self/cgroup", "4:memory:/a\n0::/b\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1\n"),
            ("sys/fs/cgroup/unified/b/memory.max", "max\n"),
            ("sys/fs/cgroup/unified/b/memory.current", "1\n"),
        ];
        assert_eq!(available(&unlimited), (2 * GIB, false));
        assert!(Memory::read(root(&[]).path()).is_err());
        assert!(Memory::read(root(&[("proc/meminfo", "MemTotal: 1 kB\n")]).path()).is_err());
    }

    #[test]
    fn the_tightest_group_upwards_decides_in_both_versions() {
        let v2 = [
            ("proc/self/cgroup", "0::/user/job\n"),
            ("sys/fs/cgroup/user/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/user/memory.current", "536870912\n"),
            ("sys/fs/cgroup/user/memory.stat", "anon 1\ninactive_file 268435456\n"),
            ("sys/fs/cgroup/user/job/memory.max", "max\n"),
        ];
        assert_eq!(available(&v2), (768 * MIB, true));
        let v1 = [
            ("proc/self/cgroup", "9:name=systemd:/x\n4:hugetlb,memory:/job\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "104857600\n"),
            ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "209715200\n"),
        ];
        assert_eq!(available(&v1), (0, true));
        // In a container only the mount is to be seen, whatever the path says.
        for path in ["/docker/abc", "/../.."] {
            let container = [
                ("proc/self/cgroup", &*format!("0::{path}\n")),
                ("sys/fs/cgroup/memory.max", "1048576\n"),
                ("sys/fs/cgroup/memory.current", "0\n"),
            ];
            assert_eq!(available(&container), (MIB, true), "{path}");
        }
    }

    #[test]
    fn lanes_are_bounded_by_what_is_scarcer() {
        let memory = |available_bytes| Memory { available_bytes, is_limited: false };
        let plenty = Capacity::new(&memory(100 * GIB), 2, 64);
        assert_eq!((plenty.lanes, plenty.bytes_per_lane), (8, 189 * MIB));
        let narrow = Capacity::new(&memory(GIB), 16, 64);
        assert_eq!((narrow.lanes, narrow.lanes_by_cores), (5, 64));
        assert_eq!(Capacity::new(&memory(188 * MIB), 16, 64).lanes, 0);
    }

    #[test]
    fn a_folder_that_is_not_there_has_one_above_it_unless_a_file_is_in_the_way() {
        let root = root(&[("file", "")]);
        assert_eq!(nearest_folder(&root.path().join("a/b")).unwrap(), root.path());
        let error = nearest_folder(&root.path().join("file")).unwrap_err().to_string();
        assert!(error.contains("is no folder"), "{error}");
        assert!(nearest_folder(&root.path().join("file/logs")).is_err());
    }

    #[test]
    fn only_the_name_of_a_socket_must_fit() {
        let short = SocketNames::below(Path::new("/a/logs"));
        assert_eq!((short.whole_path_bytes, short.name_bytes, short.is_too_long()), (18, 10, false));
        assert!(SocketNames::below(Path::new(&format!("/{}", "d".repeat(100)))).is_too_long());
    }

    #[test]
    fn sizes_are_readable() {
        let sizes = [12, 131_072, 3_653_632, 25_000_000_000].map(size);
        assert_eq!(sizes, ["12 bytes", "128 KiB", "3.5 MiB", "23.3 GiB"]);
    }
}
