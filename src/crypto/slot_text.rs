//! The text of a key slot: written, and read from bytes that anybody may have written.

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::slot_error::{Cost, LABEL_MAX, SlotError, SlotKind};
use super::stretch;
use crate::types::{
    ids::{Generation, Id},
    role::Role,
};

/// No slot is longer: a label of control characters takes six bytes a character.
const BYTES_MAX: usize = 4096;
/// No slot with keys of later generations is longer.
const LATER_MAX: usize = 64 << 10;
const CHECK: &str = "check = \"";

/// A slot, parsed.
pub(super) struct Slot {
    pub(super) id: Id,
    pub(super) kind: SlotKind,
    pub(super) label: String,
    /// Seconds since 1970.
    pub(super) created_s: i64,
    /// Present for a passphrase and for nothing else.
    pub(super) cost: Option<Cost>,
    pub(super) salt: [u8; 32],
    pub(super) wrap: Wrap,
}

/// What a slot wraps, and how.
pub(super) enum Wrap {
    /// Format 1: the master secret, encrypted, and its tag, 48 bytes.
    Master { nonce: [u8; 12], wrapped: Vec<u8> },
    /// Formats 2 and 3: the keys of a role, sealed to the public key of the slot.
    Keys {
        role: Role,
        /// The generation that was in force: that of its binding. Format 2 where it is the first.
        generation: Generation,
        /// The slot's public key; the private one follows from what opens it.
        public: [u8; 32],
        /// The secret that the slot shares with whoever has the role admin, sealed for him.
        binding: Vec<u8>,
        wrapped: Vec<u8>,
    },
}

impl Slot {
    /// Everything that the wrapping authenticates and does not encrypt. The salt is bound by the key.
    pub(super) fn associated(&self, repository: Id) -> Vec<u8> {
        let cost = self.cost.unwrap_or(Cost { memory_kib: 0, passes: 0, lanes: 0 });
        let of = match &self.wrap {
            Wrap::Master { .. } => b"bygone 1 slot",
            Wrap::Keys { generation: Generation::FIRST, .. } => b"bygone 2 slot",
            Wrap::Keys { .. } => b"bygone 3 slot",
        };
        let mut out = of.to_vec();
        out.extend(repository.0);
        out.extend(self.id.0);
        out.push(kind_number(self.kind));
        if let Wrap::Keys { role, generation, public, .. } = &self.wrap {
            out.push(role.number());
            if *generation != Generation::FIRST {
                out.extend(generation.0);
            }
            out.extend(public);
        }
        for n in [cost.memory_kib, cost.passes, cost.lanes] {
            out.extend(n.to_le_bytes());
        }
        out.extend(self.created_s.to_le_bytes());
        out.extend(self.label.as_bytes());
        out
    }
}

fn kind_number(kind: SlotKind) -> u8 {
    match kind {
        SlotKind::Passphrase => 1,
        SlotKind::KeyFile => 2,
        SlotKind::Paper => 3,
    }
}

/// The fields as they stand in the text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Fields {
    format: i64,
    id: String,
    kind: SlotKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    label: String,
    created: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    argon2_memory_kib: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    argon2_passes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    argon2_lanes: Option<u32>,
    salt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<String>,
    wrapped: String,
}

/// Only the format, whatever else a later one may have.
#[derive(Deserialize)]
struct Probe {
    format: i64,
}

/// The bytes of a slot.
pub(super) fn write(slot: &Slot) -> Vec<u8> {
    let base64 = |bytes: &[u8]| BASE64.encode(bytes);
    let (format, generation) = match &slot.wrap {
        Wrap::Master { .. } => (1, None),
        Wrap::Keys { generation: Generation::FIRST, .. } => (2, None),
        Wrap::Keys { generation, .. } => (3, Some(generation.to_string())),
    };
    let (role, nonce, public, binding, wrapped) = match &slot.wrap {
        Wrap::Master { nonce, wrapped } => (None, Some(base64(nonce)), None, None, wrapped),
        Wrap::Keys { role, public, binding, wrapped, .. } => {
            (Some(*role), None, Some(base64(public)), Some(base64(binding)), wrapped)
        }
    };
    let fields = Fields {
        format,
        id: slot.id.to_string(),
        kind: slot.kind,
        role,
        generation,
        label: slot.label.clone(),
        created: slot.created_s,
        argon2_memory_kib: slot.cost.map(|c| c.memory_kib),
        argon2_passes: slot.cost.map(|c| c.passes),
        argon2_lanes: slot.cost.map(|c| c.lanes),
        salt: base64(&slot.salt),
        nonce,
        public,
        binding,
        wrapped: base64(wrapped),
    };
    let body = toml::to_string(&fields).expect("a flat table of strings and numbers can always be written");
    let check = check_of(&body);
    format!("{body}{CHECK}{check}\"\n").into_bytes()
}

fn check_of(body: &str) -> String {
    HEXLOWER.encode(&blake3::hash(body.as_bytes()).as_bytes()[..8])
}

/// Reads a slot: its check first, then its format, then its fields, then their ranges.
pub(super) fn read(bytes: &[u8]) -> Result<Slot, SlotError> {
    let body = checked(bytes)?;
    let probe: Probe = toml::from_str(body).map_err(|e| damaged(e.message()))?;
    if !matches!(probe.format, 1..=3) {
        return Err(SlotError::Newer { format: probe.format });
    }
    if probe.format < 3 && bytes.len() > BYTES_MAX {
        return Err(damaged(&format!("it has {} bytes and can have {BYTES_MAX}", bytes.len())));
    }
    let fields: Fields = toml::from_str(body).map_err(|e| damaged(e.message()))?;
    if fields.label.len() > LABEL_MAX {
        return Err(damaged("its label is too long"));
    }
    Ok(Slot {
        id: Id::parse(&fields.id).ok_or_else(|| damaged("id"))?,
        cost: cost(&fields)?,
        salt: fixed(&fields.salt, "salt")?,
        wrap: wrap(&fields)?,
        kind: fields.kind,
        label: fields.label,
        created_s: fields.created,
    })
}

/// What it wraps: a format has its own fields and no others.
fn wrap(fields: &Fields) -> Result<Wrap, SlotError> {
    let wrapped = &fields.wrapped;
    let generation = match (fields.format, &fields.generation) {
        (3, Some(text)) => Generation::parse(text).filter(|g| g.number() > 0).ok_or_else(|| damaged("generation"))?,
        (1 | 2, None) => Generation::FIRST,
        _ => return Err(damaged("its fields do not fit its format")),
    };
    match (fields.format, fields.role, &fields.nonce, &fields.public, &fields.binding) {
        (1, None, Some(nonce), None, None) => {
            Ok(Wrap::Master { nonce: fixed(nonce, "nonce")?, wrapped: fixed::<48>(wrapped, "wrapped")?.to_vec() })
        }
        (2 | 3, Some(role), None, Some(public), Some(binding)) => Ok(Wrap::Keys {
            role,
            generation,
            public: fixed(public, "public")?,
            binding: fixed::<48>(binding, "binding")?.to_vec(),
            wrapped: BASE64.decode(wrapped.as_bytes()).map_err(|e| damaged(&format!("wrapped: {e}")))?,
        }),
        _ => Err(damaged("its fields do not fit its format")),
    }
}

/// The text before the check line, if the check fits.
fn checked(bytes: &[u8]) -> Result<&str, SlotError> {
    if bytes.len() > LATER_MAX {
        return Err(damaged(&format!("it has {} bytes and can have {LATER_MAX}", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let split = text.rfind(CHECK).ok_or_else(|| damaged("its check is missing"))?;
    let (body, last) = text.split_at(split);
    let good = body.ends_with('\n') && last == format!("{CHECK}{}\"\n", check_of(body));
    if good { Ok(body) } else { Err(damaged("its check does not fit")) }
}

fn cost(fields: &Fields) -> Result<Option<Cost>, SlotError> {
    let given = (fields.argon2_memory_kib, fields.argon2_passes, fields.argon2_lanes);
    match (fields.kind, given) {
        (SlotKind::Passphrase, (Some(memory_kib), Some(passes), Some(lanes))) => {
            let cost = Cost { memory_kib, passes, lanes };
            stretch::params(cost).map(|_| Some(cost))
        }
        (SlotKind::KeyFile | SlotKind::Paper, (None, None, None)) => Ok(None),
        _ => Err(damaged("its Argon2 parameters do not fit its kind")),
    }
}

fn fixed<const N: usize>(text: &str, field: &str) -> Result<[u8; N], SlotError> {
    let bytes = BASE64.decode(text.as_bytes()).map_err(|e| damaged(&format!("{field}: {e}")))?;
    bytes.try_into().map_err(|b: Vec<u8>| damaged(&format!("{field} has {} bytes and not {N}", b.len())))
}

fn damaged(why: &str) -> SlotError {
    SlotError::Damaged { why: why.to_owned() }
}
