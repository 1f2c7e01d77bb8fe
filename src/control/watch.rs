//! Notices that a config file has changed: written in place, replaced by a rename, or reached by a symbolic link that was
//! swapped somewhere on its way (as volume mounts and release folders do).
//!
//! Not files but the folders of every entry on the way to them are watched, since a watched file that is replaced goes
//! silent. What a folder reports is only a reason to look: [`stamp`] says whether the text can have changed.

use crate::base::limits;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{timeout, Instant};

/// The watch over the folders of some files.
#[derive(Debug)]
pub(super) struct Watch {
    /// `None` where the system refuses to watch.
    watcher: Option<RecommendedWatcher>,
    /// What is watched, and which folder had that name when the watch began: one that takes its place is another.
    folders: BTreeMap<PathBuf, Option<(u64, u64)>>,
}

/// Wakes after something happened in a watched folder and it has been quiet since.
#[derive(Clone, Debug, Default)]
pub(super) struct Stir(Arc<Notify>);

impl Stir {
    /// Waits for the next one.
    pub(super) async fn next(&self) {
        self.0.notified().await;
        let latest = Instant::now() + Duration::from_millis(limits::WATCH_DELAY_MS_MAX);
        let quiet = Duration::from_millis(limits::WATCH_QUIET_MS);
        while Instant::now() < latest && timeout(quiet, self.0.notified()).await.is_ok() {}
    }
}

impl Watch {
    /// Starts with nothing to watch. A system that refuses is said once; SIGHUP still works.
    pub(super) fn new() -> (Watch, Stir) {
        let stir = Stir::default();
        let told = stir.0.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files is an event as well, and not a reason to read them again.
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                told.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "cannot watch config files; send SIGHUP to reload them"))
            .ok();
        (Watch { watcher, folders: BTreeMap::new() }, stir)
    }

    /// Watches the folders on the way to these files, and no others.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted: BTreeMap<PathBuf, _> = BTreeMap::new();
        for folder in files.iter().flat_map(|file| folders_of(file)) {
            wanted.entry(folder).or_insert_with_key(|folder| identity(folder));
        }
        self.folders.retain(|folder, held| {
            let stays = wanted.get(folder) == Some(held);
            if !stays {
                // A folder that no longer exists has taken its watch with it.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        for (folder, identity) in wanted {
            if self.folders.contains_key(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder, identity);
                }
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "cannot watch a folder of config files; send SIGHUP to reload them");
                }
            }
        }
    }
}

/// Device and inode of a folder.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(folder).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Every folder in which an entry on the way to `file` stands that could be swapped: those of symbolic links, that of
/// the file itself, and the one around that. Folders further out are not watched: half the machine writes to them.
fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    for _ in 0..limits::SYMLINKS_MAX {
        let Some((link, rest)) = first_link(&path) else { break };
        let folder = link.parent().unwrap_or(Path::new("/")).to_owned();
        let Ok(to) = std::fs::read_link(&link) else { break };
        // Collected anew: joining an empty rest leaves a trailing slash, which would make a folder of a file.
        path = folder.join(to).join(rest).components().collect();
        folders.insert(folder);
    }
    folders.extend(path.ancestors().skip(1).take(2).map(Path::to_owned));
    folders
}

/// The first symbolic link among the parts of an absolute path, and what follows it.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut walked = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        match part {
            Component::ParentDir => {
                walked.pop();
            }
            other => walked.push(other),
        }
        if walked.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            return Some((walked, parts.as_path().to_owned()));
        }
    }
    None
}

/// What a file looked like at one moment: identity, size and times; `None` where there was none.
pub type Look = Option<[i64; 6]>;

/// Looks at a file, links followed.
pub fn look(file: &Path) -> Look {
    let meta = std::fs::metadata(file).ok()?;
    let size = i64::try_from(meta.size()).unwrap_or(i64::MAX);
    // Device and inode are compared for equality only.
    Some([meta.dev() as i64, meta.ino() as i64, size, meta.mtime(), meta.mtime_nsec(), meta.ctime_nsec()])
}

/// What files looked like, in order.
pub(super) type Stamp = Vec<Look>;

/// Looks at all of them.
pub(super) fn stamp(files: &[PathBuf]) -> Stamp {
    files.iter().map(|file| look(file)).collect()
}

/// The files that a configuration was read from, readable or not.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Those that are the configuration itself, then those that it names: certificates, hosts, types of messages.
    pub paths: Vec<PathBuf>,
    /// Invariant: how many are the configuration itself, at most as many as there are.
    pub(super) own: usize,
    /// Invariant: one per path.
    pub(super) stamp: Stamp,
}

impl Watched {
    /// These; `own` are the configuration itself. `looks` are from before they were read, so that a change during the
    /// reading differs from them; those that nobody has read are looked at now.
    pub fn new(paths: Vec<PathBuf>, own: usize, looks: &HashMap<PathBuf, Look>) -> Watched {
        let stamp = paths.iter().map(|path| looks.get(path).copied().unwrap_or_else(|| look(path))).collect();
        Watched { own: own.min(paths.len()), paths, stamp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::folder;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Follows `file`, makes a change, and tells whether the watch woke up and the stamp differs.
    fn is_noticed(file: &Path, change: impl FnOnce()) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let files = vec![file.to_owned()];
        runtime.block_on(async {
            let (mut watch, stir) = Watch::new();
            watch.follow(&files);
            let before = stamp(&files);
            change();
            timeout(Duration::from_secs(3), stir.next()).await.is_ok() && stamp(&files) != before
        })
    }

    #[test]
    fn a_file_written_in_place_is_noticed() {
        let file = folder("watch-write").join("a.yml");
        fs::write(&file, "1").unwrap();
        assert!(is_noticed(&file, || fs::write(&file, "22").unwrap()));
    }

    #[test]
    fn a_file_replaced_by_rename_is_noticed() {
        let folder = folder("watch-rename");
        let file = folder.join("a.yml");
        fs::write(&file, "1").unwrap();
        assert!(is_noticed(&file, || {
            fs::write(folder.join("a.new"), "2").unwrap();
            fs::rename(folder.join("a.new"), &file).unwrap();
        }));
    }

    #[test]
    fn a_swapped_volume_mount_is_noticed() {
        // a.yml -> ..data/a.yml, ..data -> ..1; then ..data is renamed over by a link to ..2.
        let folder = folder("watch-mount");
        for (generation, text) in [("..1", "1"), ("..2", "2")] {
            fs::create_dir(folder.join(generation)).unwrap();
            fs::write(folder.join(generation).join("a.yml"), text).unwrap();
        }
        symlink("..1", folder.join("..data")).unwrap();
        symlink("..data/a.yml", folder.join("a.yml")).unwrap();
        assert!(is_noticed(&folder.join("a.yml"), || {
            symlink("..2", folder.join("..tmp")).unwrap();
            fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
        }));
    }

    #[test]
    fn a_swapped_release_folder_elsewhere_is_noticed() {
        let (etc, srv) = (folder("watch-etc"), folder("watch-srv"));
        for release in ["r1", "r2"] {
            fs::create_dir_all(srv.join(release).join("conf")).unwrap();
            fs::write(srv.join(release).join("conf/a.yml"), release).unwrap();
        }
        symlink(srv.join("r1"), srv.join("current")).unwrap();
        symlink(srv.join("current/conf/a.yml"), etc.join("a.yml")).unwrap();
        let found = folders_of(&etc.join("a.yml"));
        for want in [etc.clone(), srv.clone(), srv.join("r1/conf")] {
            assert!(found.contains(&want), "{} is not among {found:?}", want.display());
        }
        assert!(is_noticed(&etc.join("a.yml"), || {
            symlink(srv.join("r2"), srv.join("tmp")).unwrap();
            fs::rename(srv.join("tmp"), srv.join("current")).unwrap();
        }));
    }

    #[test]
    fn a_folder_in_the_place_of_another_is_noticed_and_followed() {
        let folder = folder("watch-folder");
        let (conf, file) = (folder.join("conf"), folder.join("conf/a.yml"));
        let make = |name: &str, text: &str| {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("a.yml"), text).unwrap();
        };
        make("conf", "1");
        make("conf.new", "22");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let files = vec![file.clone()];
        runtime.block_on(async {
            let woke = async |stir: &Stir| timeout(Duration::from_secs(3), stir.next()).await.is_ok();
            let (mut watch, stir) = Watch::new();
            watch.follow(&files);
            let before = stamp(&files);
            fs::rename(&conf, folder.join("conf.old")).unwrap();
            fs::rename(folder.join("conf.new"), &conf).unwrap();
            assert!(woke(&stir).await && stamp(&files) != before);
            watch.follow(&files);
            fs::write(&file, "333").unwrap();
            assert!(woke(&stir).await, "the new one is watched as the old one was");
        });
    }

    #[test]
    fn a_ring_of_links_has_an_end() {
        let folder = folder("watch-ring");
        symlink("b", folder.join("a")).unwrap();
        symlink("a", folder.join("b")).unwrap();
        let around = folder.parent().unwrap().to_owned();
        assert_eq!(folders_of(&folder.join("a")), BTreeSet::from([around, folder]));
    }

    #[test]
    fn a_neighbour_is_no_reason_to_read_again() {
        let folder = folder("watch-neighbour");
        let file = folder.join("a.yml");
        fs::write(&file, "1").unwrap();
        assert!(!is_noticed(&file, || fs::write(folder.join("b.yml"), "1").unwrap()));
    }
}
