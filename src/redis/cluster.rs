//! Redis Cluster: which node has a key, as the nodes tell it (redis.io/docs/reference/cluster-spec).

use super::{Host, Reply};
use crate::base::limits;

/// Slots that keys fall into.
pub const SLOTS: u16 = 16_384;

/// The slot of a key: CRC16 of it, or of its hash tag, what stands in its first `{…}`.
pub fn slot_of(key: &[u8]) -> u16 {
    redis_protocol::redis_keyslot(key)
}

/// Which node has which slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotMap {
    /// The masters.
    pub nodes: Vec<Host>,
    /// By slot: place in `nodes`, or [`NOBODY`]. Empty, or [`SLOTS`] long.
    of: Vec<u16>,
}

const NOBODY: u16 = u16::MAX;
const _: () = assert!(limits::REDIS_NODES_MAX < NOBODY as usize);

impl SlotMap {
    /// Reads the answer to CLUSTER SHARDS (Redis 7) that `from` gave, of whose ports those of TLS count where `secure`; as
    /// [`SlotMap::of_reply`] reads the other.
    pub fn of_shards(reply: &Reply, from: &Host, secure: bool) -> Option<SlotMap> {
        let mut map = SlotMap { nodes: Vec::new(), of: vec![NOBODY; usize::from(SLOTS)] };
        for shard in reply.list() {
            let slots = field(shard, "slots")?.list();
            let nodes = field(shard, "nodes")?.list();
            let says = |node: &&Reply, name: &str, word: &str| field(node, name).and_then(Reply::text) == Some(word);
            let masters = || nodes.iter().filter(|node| says(node, "role", "master"));
            // One that has failed is named until another has taken its place.
            let Some(master) = masters().find(|node| says(node, "health", "online")).or_else(|| masters().next())
            else {
                continue;
            };
            let port = |name: &str| field(master, name).and_then(Reply::integer);
            let port = if secure { port("tls-port").or_else(|| port("port")) } else { port("port") };
            let name = field(master, "endpoint").and_then(Reply::text);
            let name = name.filter(|name| !name.is_empty() && *name != "?").unwrap_or(&from.name);
            let node = map.node(Host::new(name, u16::try_from(port?).ok()?))?;
            for range in slots.chunks(2) {
                let [Reply::Integer(first), Reply::Integer(last)] = range else { return None };
                let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
                if first > last || last >= SLOTS {
                    return None;
                }
                map.of[usize::from(first)..=usize::from(last)].fill(node);
            }
        }
        map.of.iter().any(|node| *node != NOBODY).then_some(map)
    }

    /// Reads the answer to CLUSTER SLOTS that `from` gave: it may leave out its own host, which is then `from`'s. `None`
    /// where it is no such answer, or names no slot.
    pub fn of_reply(reply: &Reply, from: &Host) -> Option<SlotMap> {
        let mut map = SlotMap { nodes: Vec::new(), of: vec![NOBODY; usize::from(SLOTS)] };
        for range in reply.list() {
            let [Reply::Integer(first), Reply::Integer(last), master, ..] = range.list() else { return None };
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
            let [name, Reply::Integer(port), ..] = master.list() else { return None };
            let port = u16::try_from(*port).ok()?;
            // "?" and an empty name stand for the node that answers.
            let name = name.text().filter(|name| !name.is_empty() && *name != "?").unwrap_or(&from.name);
            if first > last || last >= SLOTS {
                return None;
            }
            let node = map.node(Host::new(name, port))?;
            map.of[usize::from(first)..=usize::from(last)].fill(node);
        }
        (!map.nodes.is_empty()).then_some(map)
    }

    /// The node that has a slot; `None` where nobody is known to.
    pub fn node_of(&self, slot: u16) -> Option<&Host> {
        self.nodes.get(usize::from(*self.of.get(usize::from(slot))?))
    }

    /// Notes that `host` has a slot now.
    pub fn moved(&mut self, slot: u16, host: Host) {
        if self.of.is_empty() {
            self.of = vec![NOBODY; usize::from(SLOTS)];
        }
        if let (Some(node), Some(at)) = (self.node(host), self.of.get_mut(usize::from(slot))) {
            *at = node;
        }
    }

    /// The place of a node; `None` where there are too many.
    fn node(&mut self, host: Host) -> Option<u16> {
        let at = self.nodes.iter().position(|node| *node == host).unwrap_or_else(|| {
            self.nodes.push(host);
            self.nodes.len() - 1
        });
        (at < limits::REDIS_NODES_MAX).then_some(at as u16)
    }
}

/// What stands behind a name in a list of names and values.
fn field<'r>(reply: &'r Reply, name: &str) -> Option<&'r Reply> {
    reply.list().chunks(2).find(|pair| pair[0].text() == Some(name)).and_then(|pair| pair.get(1))
}

/// Where a cluster sends whoever asked the wrong node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The slot is elsewhere for good.
    Moved(u16, Host),
    /// The slot is moving; this once elsewhere, after ASKING.
    Ask(Host),
    /// The slot is moving, and its keys are in two places; later.
    TryAgain,
}

impl Redirect {
    /// Reads an error reply that `from` gave.
    pub fn of(error: &str, from: &Host) -> Option<Redirect> {
        let mut words = error.split(' ');
        let kind = words.next()?;
        if kind == "TRYAGAIN" {
            return Some(Redirect::TryAgain);
        }
        if kind != "MOVED" && kind != "ASK" {
            return None;
        }
        let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
        let (name, port) = words.next()?.rsplit_once(':')?;
        let name = if name.is_empty() || name == "?" { &from.name } else { name };
        let host = Host::new(name, port.parse().ok()?);
        Some(if kind == "MOVED" { Redirect::Moved(slot, host) } else { Redirect::Ask(host) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::read;
    use super::*;

    fn host() -> Host {
        Host::new("10.0.0.9", 7000)
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        // The specification's own vector, and its examples of hash tags.
        assert_eq!(slot_of(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), slot_of(b"foo{}{bar}"));
        assert_ne!(slot_of(b"foo{}{bar}"), slot_of(b"bar"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(slot_of(b""), 0);
        assert_eq!(slot_of(b"{"), slot_of(b"{"));
    }

    #[test]
    fn a_map_is_read_and_follows_moves() {
        let text = "*2\r\n*4\r\n:0\r\n:5460\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n*3\r\n$9\r\n127.0.0.2\r\n:7002\r\n\
                    $2\r\nid\r\n*3\r\n:5461\r\n:16382\r\n*2\r\n$0\r\n\r\n:7003\r\n";
        let (reply, _) = read(text.as_bytes()).unwrap().unwrap();
        let mut map = SlotMap::of_reply(&reply, &host()).unwrap();
        let at = |map: &SlotMap, slot| map.node_of(slot).map(ToString::to_string);
        assert_eq!(at(&map, 0).as_deref(), Some("127.0.0.1:7001"));
        assert_eq!(at(&map, 5460), at(&map, 0));
        assert_eq!(at(&map, 5461).as_deref(), Some("10.0.0.9:7003"));
        assert_eq!((at(&map, 16_383), at(&map, SLOTS)), (None, None));
        map.moved(16_383, Host::new("c", 1));
        map.moved(SLOTS, Host::new("d", 1));
        assert_eq!(at(&map, 16_383).as_deref(), Some("c:1"));
        let mut fresh = SlotMap::default();
        fresh.moved(3, host());
        assert_eq!((at(&fresh, 3), at(&fresh, 4)), (Some("10.0.0.9:7000".to_owned()), None));
    }

    fn list(items: Vec<Reply>) -> Reply {
        Reply::List(items)
    }

    fn text(text: &str) -> Reply {
        Reply::Text(text.as_bytes().to_vec())
    }

    fn node(endpoint: &str, role: &str, health: &str) -> Reply {
        let ports = [text("port"), Reply::Integer(7001), text("tls-port"), Reply::Integer(7443)];
        let words = [("id", "x"), ("ip", "10.0.0.1"), ("endpoint", endpoint), ("role", role), ("health", health)];
        list(ports.into_iter().chain(words.iter().flat_map(|(name, value)| [text(name), text(value)])).collect())
    }

    fn shard(slots: &[i64], nodes: Vec<Reply>) -> Reply {
        let slots = slots.iter().map(|slot| Reply::Integer(*slot)).collect();
        list(vec![text("slots"), list(slots), text("nodes"), list(nodes)])
    }

    #[test]
    fn shards_are_read() {
        let two = vec![node("10.0.0.1", "replica", "online"), node("10.0.0.2", "master", "online")];
        let fallen = vec![node("10.0.0.3", "master", "fail"), node("?", "master", "online")];
        let none = shard(&[], vec![node("10.0.0.5", "master", "online")]);
        let reply = list(vec![shard(&[0, 10, 20, 20], two), shard(&[11, 19], fallen), none]);
        for (secure, port) in [(false, 7001), (true, 7443)] {
            let map = SlotMap::of_shards(&reply, &host(), secure).unwrap();
            let at = |slot| map.node_of(slot).map(ToString::to_string);
            let (first, second) = (format!("10.0.0.2:{port}"), format!("10.0.0.9:{port}"));
            assert_eq!(
                [at(0), at(10), at(20), at(11), at(19)].map(Option::unwrap),
                [&first, &first, &first, &second, &second].map(Clone::clone)
            );
            assert_eq!(at(21), None);
        }
        let master = || vec![node("a", "master", "online")];
        let odd = [
            list(vec![]),
            list(vec![shard(&[], master())]),
            list(vec![shard(&[0], master())]),
            list(vec![shard(&[5, 4], master())]),
            list(vec![shard(&[0, 16_384], master())]),
            list(vec![text("slots")]),
            Reply::Integer(1),
        ];
        for reply in odd {
            assert_eq!(SlotMap::of_shards(&reply, &host(), false), None, "{reply:?}");
        }
    }

    #[test]
    fn what_is_no_map_is_not_taken_for_one() {
        let rows = [
            "*0\r\n",
            ":1\r\n",
            "*1\r\n*2\r\n:0\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
            "*1\r\n*3\r\n:2\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:70000\r\n",
        ];
        for text in rows {
            let (reply, _) = read(text.as_bytes()).unwrap().unwrap();
            assert_eq!(SlotMap::of_reply(&reply, &host()), None, "{text:?}");
        }
    }

    #[test]
    fn redirects_are_read() {
        let rows = [
            ("MOVED 3999 127.0.0.1:6381", Some(Redirect::Moved(3999, Host::new("127.0.0.1", 6381)))),
            ("MOVED 3999 ::1:6381", Some(Redirect::Moved(3999, Host::new("::1", 6381)))),
            ("MOVED 1 :6381", Some(Redirect::Moved(1, Host::new("10.0.0.9", 6381)))),
            ("ASK 3999 redis-2.test:6381", Some(Redirect::Ask(Host::new("redis-2.test", 6381)))),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Some(Redirect::TryAgain)),
            ("MOVED 16384 a:1", None),
            ("MOVED 1 a", None),
            ("MOVED 1 a:x", None),
            ("MOVED", None),
            ("ERR MOVED 1 a:1", None),
        ];
        for (error, want) in rows {
            assert_eq!(Redirect::of(error, &host()), want, "{error}");
        }
    }
}
