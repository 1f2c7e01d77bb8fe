//! Which files a configuration comes from, and what the command line says over them.

use crate::plan::{Driver, Plan, Shards};
use clap::ValueEnum;
use std::path::PathBuf;

/// The files, as every command that reads a configuration takes them.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Files {
    /// A configuration file, YAML or JSON; its dialect is recognised. May be given several times: the files are merged
    /// into one configuration. Without any, the declarative configuration that the node's settings name is read
    /// (KONG_DECLARATIVE_CONFIG, or declarative_config of kong.conf).
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(super) config: Vec<PathBuf>,
    /// The node's settings, which hold beside a Kong file; KONG_* variables stand over them. By default
    /// /etc/kong/kong.conf, where it exists.
    #[arg(long, value_name = "KONG.CONF")]
    pub(super) conf: Option<PathBuf>,
}

/// What stands over the files.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Overrides {
    /// Serve on so many CPUs: a number, `auto` for all, or CPUs by number with commas (`0,2,4`; one: `0,`).
    #[arg(long, value_name = "N", value_parser = shards)]
    pub(super) shards: Option<Shards>,
    /// What shards wait with.
    #[arg(long)]
    pub(super) driver: Option<Wait>,
}

/// [`Driver`] as a word.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Wait {
    /// io_uring, or epoll where the kernel refuses it.
    Auto,
    /// io_uring or nothing.
    #[value(alias = "io_uring", alias = "uring")]
    IoUring,
    /// epoll.
    Epoll,
}

impl Overrides {
    /// Puts them into a plan.
    pub(super) fn apply(&self, plan: &mut Plan) {
        if let Some(shards) = &self.shards {
            plan.node.runtime.shards = shards.clone();
        }
        if let Some(driver) = self.driver {
            plan.node.runtime.driver = match driver {
                Wait::Auto => Driver::Auto,
                Wait::IoUring => Driver::Uring,
                Wait::Epoll => Driver::Epoll,
            };
        }
    }
}

fn shards(text: &str) -> Result<Shards, String> {
    if text == "auto" {
        return Ok(Shards::Auto);
    }
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| format!("\"{text}\" is not a number"));
    if !text.contains(',') {
        return match number(text)? {
            0 => Err("somebody has to serve; write 1 or more, or auto".to_owned()),
            count => Ok(Shards::Count(count)),
        };
    }
    let cpus = text.split(',').filter(|part| !part.trim().is_empty()).map(number).collect::<Result<Vec<_>, _>>()?;
    match cpus.is_empty() {
        true => Err("no CPU is named".to_owned()),
        false => Ok(Shards::Cpus(cpus)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_a_count_or_cpus() {
        let rows: &[(&str, Option<Shards>)] = &[
            ("auto", Some(Shards::Auto)),
            ("4", Some(Shards::Count(4))),
            ("0,2", Some(Shards::Cpus(vec![0, 2]))),
            ("0,", Some(Shards::Cpus(vec![0]))),
            ("0", None),
            (",", None),
            ("-1", None),
            ("a,1", None),
            ("", None),
        ];
        for (text, want) in rows {
            assert_eq!(shards(text).ok(), *want, "{text:?}");
        }
    }
}
