//! The names of a host that mean the same.

use hod_oci::DOCKER_IO;

pub(super) fn is_same_host(one: &str, other: &str) -> bool {
    normal_host(one).eq_ignore_ascii_case(normal_host(other))
}

/// The host that a name of a host stands for.
pub(super) fn normal_host(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_IO,
        host => host,
    }
}
