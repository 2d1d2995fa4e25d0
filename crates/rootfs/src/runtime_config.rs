//! Creates `config.json` of a runtime bundle (OCI runtime-spec 1.0) from an image's config, as umoci does.

use std::io;

use rustix::fs::StatVfsMountFlags;
use serde_json::{Map, Value, json};

use super::owners::Owners;
use super::users::User;

/// Where the machine says what its name servers are.
const NAME_SERVERS: &str = "/etc/resolv.conf";

/// What of an image's config says how it runs.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct ImageConfig {
    created: Option<String>,
    author: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Run>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Run {
    user: Option<String>,
    exposed_ports: Option<Map<String, Value>>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<Map<String, Value>>,
    working_dir: Option<String>,
    labels: Option<Map<String, Value>>,
    stop_signal: Option<String>,
}

impl ImageConfig {
    /// The user that it runs as.
    pub(super) fn user(&self) -> &str {
        self.config.as_ref().and_then(|run| run.user.as_deref()).unwrap_or_default()
    }

    /// The bytes of the runtime's configuration for a tree of that name.
    pub(super) fn runtime_config(&self, user: &User, owners: &Owners, rootfs: &str) -> io::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(&self.document(user, owners, rootfs))?;
        json.push(b'\n');
        Ok(json)
    }

    fn document(&self, user: &User, owners: &Owners, rootfs: &str) -> Value {
        let default = Run::default();
        let run = self.config.as_ref().unwrap_or(&default);
        let mut command = run.entrypoint.iter().chain(&run.cmd).flatten().map(String::as_str).collect::<Vec<_>>();
        if command.is_empty() {
            command.push("sh");
        }
        let mut who = json!({ "uid": user.uid, "gid": user.gid });
        if !user.more_gids.is_empty() && !owners.is_rootless() {
            set(&mut who, "additionalGids", json!(user.more_gids));
        }
        let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        let folder = run.working_dir.as_deref().filter(|folder| !folder.is_empty()).unwrap_or("/");
        json!({
            "ociVersion": "1.0.0",
            "process": {
                "terminal": true,
                "user": who,
                "args": command,
                "env": environment(run.env.as_deref().unwrap_or_default(), &user.home),
                "cwd": folder,
                "capabilities": {
                    "bounding": capabilities,
                    "effective": capabilities,
                    "inheritable": capabilities,
                    "permitted": capabilities,
                    "ambient": capabilities,
                },
                "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
                "noNewPrivileges": true,
            },
            "root": { "path": rootfs },
            "hostname": "umoci-default",
            "mounts": mounts(run, owners),
            "annotations": self.annotations(run),
            "linux": linux(owners),
        })
    }

    fn annotations(&self, run: &Run) -> Value {
        let ports: Vec<&str> = run.exposed_ports.iter().flat_map(Map::keys).map(String::as_str).collect();
        let mut annotations = run.labels.clone().unwrap_or_default();
        for (name, value) in [
            ("architecture", self.architecture.as_deref()),
            ("author", self.author.as_deref()),
            ("created", self.created.as_deref()),
            ("exposedPorts", Some(&*ports.join(","))),
            ("os", self.os.as_deref()),
            ("stopSignal", run.stop_signal.as_deref()),
        ] {
            annotations.insert(format!("org.opencontainers.image.{name}"), json!(value.unwrap_or_default()));
        }
        Value::Object(annotations)
    }
}

/// The image's environment over what every process has.
fn environment(image: &[String], home: &str) -> Vec<String> {
    const DEFAULT: [&str; 2] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"];
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut all: Vec<String> = DEFAULT.map(str::to_owned).to_vec();
    for variable in image {
        match all.iter_mut().find(|known| name(known) == name(variable)) {
            Some(known) => known.clone_from(variable),
            None => all.push(variable.clone()),
        }
    }
    if !home.is_empty() && !all.iter().any(|variable| name(variable) == "HOME") {
        all.push(format!("HOME={home}"));
    }
    all
}

fn mounts(run: &Run, owners: &Owners) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let mut mount = json!({ "destination": destination, "type": kind, "source": source });
        if !options.is_empty() {
            set(&mut mount, "options", json!(options));
        }
        mount
    };
    let is_rootless = owners.is_rootless();
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    // Group 5 is nobody's in a user's own namespace.
    let terminals = if is_rootless { terminals.get(..5).unwrap_or_default() } else { &terminals[..] };
    let mut all = vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", terminals),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if !is_rootless {
        all.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]));
        let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];
        all.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &options));
    }
    for volume in run.volumes.iter().flat_map(Map::keys) {
        all.push(mount(volume, "tmpfs", "none", &["rw", "nosuid", "nodev", "noexec", "relatime"]));
    }
    if is_rootless {
        all.push(mount("/sys", "bind", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]));
        // The network is that of the machine, and so are its name servers.
        all.extend(locked_flags(NAME_SERVERS).map(|flags| {
            let options: Vec<&str> = flags.into_iter().chain(["rbind", "ro"]).collect();
            mount(NAME_SERVERS, "bind", NAME_SERVERS, &options)
        }));
    }
    all
}

/// Flags of a mount that nobody but root may take away when it is mounted elsewhere; `None` where there is no such file.
fn locked_flags(path: &str) -> Option<Vec<&'static str>> {
    let set = rustix::fs::statvfs(path).ok()?.f_flag;
    let all = [
        (StatVfsMountFlags::NODEV, "nodev"),
        (StatVfsMountFlags::NOEXEC, "noexec"),
        (StatVfsMountFlags::NOSUID, "nosuid"),
        (StatVfsMountFlags::NOATIME, "noatime"),
        (StatVfsMountFlags::NODIRATIME, "nodiratime"),
    ];
    Some(all.into_iter().filter(|(flag, _)| set.contains(*flag)).map(|(_, name)| name).collect())
}

fn linux(owners: &Owners) -> Value {
    let is_rootless = owners.is_rootless();
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    // Only root can make a network.
    namespaces.retain(|kind| !is_rootless || *kind != "network");
    let mut linux = json!({
        "maskedPaths": [
            "/proc/kcore", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
            "/sys/firmware", "/proc/scsi",
        ],
        "readonlyPaths": ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if !is_rootless {
        set(&mut linux, "resources", json!({ "devices": [{ "allow": false, "access": "rwm" }] }));
    }
    for (field, mappings) in [("uidMappings", owners.uids()), ("gidMappings", owners.gids())] {
        if !mappings.is_empty() {
            set(&mut linux, field, json!(mappings));
        }
    }
    if is_rootless || !owners.uids().is_empty() || !owners.gids().is_empty() {
        namespaces.push("user");
    }
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
    set(&mut linux, "namespaces", json!(namespaces));
    linux
}

/// Sets a field of a JSON object.
fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}
