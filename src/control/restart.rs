//! What of a configuration only a restart can apply: sockets, threads and memory that were set up once.

use crate::plan::{Bind, Listener, Node, Plan, Runtime};

/// What threads and sockets were set up by. Not the plan that said so: its consumers would be kept for nothing.
pub(super) struct SetUp {
    /// Settings of the process.
    node: Node,
    /// Its sockets.
    pub(super) listeners: Vec<Listener>,
}

impl SetUp {
    /// By this plan.
    pub(super) fn of(plan: &Plan) -> SetUp {
        SetUp { node: plan.node.clone(), listeners: plan.listeners.clone() }
    }
}

/// The settings that differ between what runs and what was read, by the name an operator knows them by. Empty when the
/// plan applies whole.
pub(super) fn needed(running: &SetUp, read: &Plan) -> Vec<&'static str> {
    let (old, new) = (&running.node, &read.node);
    let mut names: Vec<&'static str> = Vec::new();
    let mut differs = |name, differs: bool| {
        if differs {
            names.push(name);
        }
    };
    let sockets = |all: &[Listener]| all.iter().map(|held| (held.name.clone(), socket(&held.bind))).collect::<Vec<_>>();
    differs("listeners", sockets(&running.listeners) != sockets(&read.listeners));
    let admin = |node: &Node| node.admin.iter().map(socket).collect::<Vec<_>>();
    differs("admin", admin(old) != admin(new));
    differs("access_log", old.access_log.as_ref().map(|log| &log.path) != new.access_log.as_ref().map(|log| &log.path));
    differs("admin access log", old.admin_log != new.admin_log);
    differs("error_log", old.error_log != new.error_log);
    for (name, of) in SET_UP_ONCE {
        differs(name, of(&old.runtime) != of(&new.runtime));
    }
    names
}

/// What a socket was opened with: not where that is written, nor what its TLS is set to, which its next handshake takes.
fn socket(bind: &Bind) -> Bind {
    Bind { options: None, at: String::new(), ..bind.clone() }
}

/// A setting of [`Runtime`] that threads, rings and pools are made with, and its value as text.
type Setting = (&'static str, fn(&Runtime) -> String);

const SET_UP_ONCE: &[Setting] = &[
    ("runtime.shards", |r| format!("{:?}", r.shards)),
    ("runtime.driver", |r| format!("{:?}", r.driver)),
    ("runtime.ring_entries", |r| r.ring_entries.to_string()),
    ("runtime.pin", |r| r.pin.to_string()),
    ("runtime.buffer_small", |r| r.buffer_small.to_string()),
    ("runtime.buffer_large", |r| r.buffer_large.to_string()),
    ("runtime.buffers_kept", |r| r.buffers_kept.to_string()),
    ("runtime.log_ring_bytes", |r| r.log_ring_bytes.to_string()),
    ("runtime.connections_max", |r| r.connections_max.to_string()),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{plan_of, target};
    use crate::plan::{AccessLog, Driver, LogPath};

    #[test]
    fn what_needs_a_restart_is_named_and_nothing_else() {
        type Change = fn(&mut Plan);
        let rows: &[(Change, &[&str])] = &[
            (|_| (), &[]),
            (|plan| plan.upstreams[0].targets[0].weight = 7, &[]),
            (|plan| plan.node.runtime.header_timeout_ms = 1, &[]),
            (|plan| plan.node.log_level = crate::plan::Level::Debug, &[]),
            (|plan| plan.node.admin[0].at = "n.yaml:2:5".to_owned(), &[]),
            (|plan| plan.node.admin[0].backlog = 7, &["admin"]),
            (|plan| plan.node.runtime.driver = Driver::Epoll, &["runtime.driver"]),
            (
                |plan| {
                    plan.node.error_log = LogPath::Off;
                    plan.node.access_log = Some(AccessLog { path: LogPath::Stdout, fields: Vec::new() });
                },
                &["access_log", "error_log"],
            ),
        ];
        let mut running = plan_of(&[("up", &[target("a.test", 80, 1)])]);
        running.node.admin = vec![Bind {
            addr: ([127, 0, 0, 1], 8001).into(),
            tls: false,
            http2: false,
            proxy_protocol: false,
            backlog: 16,
            at: "n.yaml:1:5".to_owned(),
            options: None,
        }];
        for (change, want) in rows {
            let mut read = running.clone();
            change(&mut read);
            assert_eq!(needed(&SetUp::of(&running), &read), *want);
        }
    }
}
