//! TLS towards Redis: one way for those that are to be verified, by the node's authorities, and one for the others.

use super::super::Shard;
use super::{ClientPlan, Compiling};
use crate::tls::settings::Client;
use crate::tls::ClientConfig;
use std::sync::Arc;

impl Shard {
    /// How a Redis is asked over TLS; `None` where no configuration wants that any more.
    pub(in super::super) fn redis_config(&self, verify: bool) -> Option<Arc<ClientConfig>> {
        let world = self.world();
        self.client_config(world.tables.secure.redis[usize::from(verify)].as_ref()?)
    }
}

impl Compiling<'_> {
    /// How a Redis is asked, for those plugins that ask one over TLS.
    pub(super) fn redis(&mut self) -> [Option<Arc<ClientPlan>>; 2] {
        let plan = self.plan;
        let mut made = [None, None];
        for instance in &plan.plugins {
            let flag = |name: &str| {
                let older = instance.config.get(format!("redis_{name}"));
                let held = instance.config.get("redis").and_then(|redis| redis.get(name));
                [older, held].into_iter().flatten().any(|value| value.as_bool() == Some(true))
            };
            let verify = flag("ssl_verify");
            let slot = &mut made[usize::from(verify)];
            if slot.is_some() || !flag("ssl") {
                continue;
            }
            match self.redis_plan(verify) {
                Ok(client) => *slot = Some(client),
                Err(what) => self.say(&instance.at, what, true),
            }
        }
        made
    }

    fn redis_plan(&self, verify: bool) -> Result<Arc<ClientPlan>, String> {
        let roots = verify.then(|| self.node_roots()).transpose()?;
        if roots.as_ref().is_some_and(|roots| roots.is_empty()) {
            return Err("redis.ssl_verify is on, and there is no authority to ask".to_owned());
        }
        let client = Client { roots, depth: None, identity: None, alpn: Vec::new() };
        client.build(1)?;
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        hash.update(if verify { &b"redis, verified"[..] } else { b"redis" });
        hash.update(&[u8::from(self.plan.node.tls.system_authorities)]);
        hash.update(self.plan.node.tls.upstream_authorities.as_bytes());
        let mut name = [0; 32];
        name.copy_from_slice(hash.finish().as_ref());
        Ok(Arc::new(ClientPlan { name, client }))
    }
}
