//! Entities beside services and routes: certificates, server names and authorities; key sets, which are not served yet; and
//! vaults, which were learnt before anything was read.

use super::{Entity, Reader};
use crate::plan::draft::{OtherDraft, PemDraft};
use crate::plan::ids::Table;
use crate::plan::tls::{Hidden, PemPair};

/// Text between the lines of a PEM block, or the absolute path of a file with some.
pub(super) fn pem(text: &str) -> Result<(), String> {
    let text = text.trim();
    if text.starts_with('/') && !text.contains(char::is_control) {
        return Ok(());
    }
    // A reference that could not be resolved is empty, and was warned of.
    if text.is_empty() || text.starts_with("{vault://") {
        return Ok(());
    }
    let whole = text.starts_with("-----BEGIN ") && text.ends_with("-----") && text.contains("-----END ");
    if whole {
        Ok(())
    } else {
        Err("expected PEM: -----BEGIN …".to_owned())
    }
}

/// What references call a vault.
pub(super) fn prefix(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let shape = bytes.len() >= 2 && bytes[0].is_ascii_lowercase() && bytes.iter().all(inner) && !text.ends_with('-');
    match (shape, text) {
        (_, "env") => Err("must not be one of: env".to_owned()),
        (true, _) => Ok(()),
        (false, _) => Err(format!("invalid value: {text}")),
    }
}

pub(super) fn certificate(reader: &mut Reader<'_>, entity: Entity<'_>) {
    if entity.has("cert_alt") != entity.has("key_alt") {
        let message = "all or none of these fields must be set: 'cert_alt', 'key_alt'";
        reader.report.fault(&entity.common.at, &entity.common.path, message, "");
    }
    let pair = |cert: &str, key: &str| {
        let chain = entity.owned(cert)?;
        Some(PemPair { chain, key: Hidden(entity.owned(key)?), ..PemPair::default() })
    };
    let pairs = [pair("cert", "key"), pair("cert_alt", "key_alt")].into_iter().flatten().collect();
    reader.draft.pems.push(PemDraft { id: entity.common.id, pairs });
    keep(reader, entity, Table::Certificates, None, None);
}

pub(super) fn sni(reader: &mut Reader<'_>, entity: Entity<'_>) {
    if entity.references.iter().all(|(_, reference)| reference.is_none()) {
        let span = entity.common.at.clone();
        reader.report.fault(&span, entity.path("certificate"), "required field missing", "");
    }
    keep(reader, entity, Table::Snis, Some("name"), Some(("certificate", Table::Certificates)));
}

pub(super) fn authority(reader: &mut Reader<'_>, entity: Entity<'_>) {
    let chain = entity.owned("cert").unwrap_or_default();
    let pairs = vec![PemPair { chain, ..PemPair::default() }];
    reader.draft.pems.push(PemDraft { id: entity.common.id, pairs });
    keep(reader, entity, Table::Authorities, None, None);
}

pub(super) fn vault(reader: &mut Reader<'_>, entity: Entity<'_>) {
    keep(reader, entity, Table::Vaults, Some("prefix"), None);
}

pub(super) fn key_set(reader: &mut Reader<'_>, entity: Entity<'_>) {
    keep(reader, entity, Table::KeySets, Some("name"), None);
}

pub(super) fn set_key(reader: &mut Reader<'_>, entity: Entity<'_>) {
    if entity.has("jwk") == entity.has("pem") {
        let message = "exactly one of these fields must be non-empty: 'jwk', 'pem'";
        reader.report.fault(&entity.common.at, &entity.common.path, message, "");
    }
    keep(reader, entity, Table::SetKeys, Some("name"), Some(("set", Table::KeySets)));
}

fn keep(
    reader: &mut Reader<'_>,
    mut entity: Entity<'_>,
    table: Table,
    name: Option<&'static str>,
    parent: Option<(&'static str, Table)>,
) {
    let name = name.and_then(|column| Some((column, entity.owned(column)?)));
    let parent = parent.and_then(|(column, table)| Some((column, table, entity.take(column)?)));
    reader.draft.others.push(OtherDraft { common: entity.common, table, name, parent });
}
