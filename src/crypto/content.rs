//! Sealing to a public key by HPKE (RFC 9180): X25519, HKDF-SHA256, and a secret that both sides share besides (`mode_psk`).
//!
//! Who has the public key and the shared secret can seal, and can't open what was sealed, not even by himself. Who lacks the shared
//! secret can do neither: so a store, or whoever learns the public key, can't make anything that opens.

use hpke::{
    Deserializable, HpkeError, Kem as _, OpModeR, OpModeS, PskBundle, Serializable,
    aead::{AesGcm256, ExportOnlyAead},
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    setup_receiver, setup_sender,
};
use zeroize::Zeroizing;

type Kem = X25519HkdfSha256;
type Private = <Kem as hpke::Kem>::PrivateKey;

/// The length of an encapsulated key in bytes.
pub(super) const ENCAPSULATED_LEN: usize = 32;
/// What the shared secret is called: the standard wants it to have a name.
const SHARED: &[u8] = b"bygone 2 shared";

/// It was not sealed to this key with this shared secret, or was altered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("was altered, or is for another key")]
pub struct NotOurs;

impl From<HpkeError> for NotOurs {
    fn from(_: HpkeError) -> NotOurs {
        NotOurs
    }
}

/// The private and the public key that follow from a secret seed.
pub(super) fn pair(seed: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 32]) {
    let (private, public) = Kem::derive_keypair(seed);
    (Zeroizing::new(private.to_bytes().into()), public.to_bytes().into())
}

/// The public key of a private one.
pub(super) fn public_of(private: &[u8; 32]) -> Result<[u8; 32], NotOurs> {
    Ok(Kem::sk_to_pk(&Private::from_bytes(private)?).to_bytes().into())
}

/// A new secret that only the holder of the private key of `public` can find again, from what is given beside it. `info` says what
/// for.
pub(super) fn encapsulate(
    public: &[u8; 32],
    shared: &[u8; 32],
    info: &[u8],
) -> Result<([u8; ENCAPSULATED_LEN], Zeroizing<[u8; 32]>), NotOurs> {
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(public)?;
    let mode = OpModeS::Psk(PskBundle::new(shared, SHARED)?);
    let (encapsulated, context) = setup_sender::<ExportOnlyAead, HkdfSha256, Kem>(&mode, &public, info)?;
    let mut secret = Zeroizing::new([0; 32]);
    context.export(info, &mut *secret)?;
    Ok((encapsulated.to_bytes().into(), secret))
}

/// The secret that [`encapsulate`] made.
pub(super) fn decapsulate(
    private: &[u8; 32],
    shared: &[u8; 32],
    info: &[u8],
    encapsulated: &[u8],
) -> Result<Zeroizing<[u8; 32]>, NotOurs> {
    let private = Private::from_bytes(private)?;
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated)?;
    let mode = OpModeR::Psk(PskBundle::new(shared, SHARED)?);
    let context = setup_receiver::<ExportOnlyAead, HkdfSha256, Kem>(&mode, &private, &encapsulated, info)?;
    let mut secret = Zeroizing::new([0; 32]);
    context.export(info, &mut *secret)?;
    Ok(secret)
}

/// Seals `plain` to a public key: the encapsulated key, the sealed bytes and their tag. `info` is authenticated too.
pub(super) fn seal(public: &[u8; 32], shared: &[u8; 32], info: &[u8], plain: &[u8]) -> Result<Vec<u8>, NotOurs> {
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(public)?;
    let mode = OpModeS::Psk(PskBundle::new(shared, SHARED)?);
    let (encapsulated, mut context) = setup_sender::<AesGcm256, HkdfSha256, Kem>(&mode, &public, info)?;
    let mut out = encapsulated.to_bytes().to_vec();
    out.extend(context.seal(plain, b"")?);
    Ok(out)
}

/// Opens what [`seal`] made.
pub(super) fn open(
    private: &[u8; 32],
    shared: &[u8; 32],
    info: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
    let (encapsulated, sealed) = sealed.split_at_checked(ENCAPSULATED_LEN).ok_or(NotOurs)?;
    let private = Private::from_bytes(private)?;
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated)?;
    let mode = OpModeR::Psk(PskBundle::new(shared, SHARED)?);
    let mut context = setup_receiver::<AesGcm256, HkdfSha256, Kem>(&mode, &private, &encapsulated, info)?;
    Ok(Zeroizing::new(context.open(sealed, b"")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_private_key_with_the_shared_secret_opens() {
        let ((private, public), (other, _)) = (pair(&[1; 32]), pair(&[2; 32]));
        assert_eq!(public_of(&private).unwrap(), public);
        let (key, secret) = encapsulate(&public, &[7; 32], b"x").unwrap();
        assert_eq!(*decapsulate(&private, &[7; 32], b"x", &key).unwrap(), *secret);
        assert_ne!(*encapsulate(&public, &[7; 32], b"x").unwrap().1, *secret);
        let found = |private: &[u8; 32], shared: [u8; 32], info: &[u8], key: &[u8]| {
            decapsulate(private, &shared, info, key).is_ok_and(|found| *found == *secret)
        };
        assert!(!found(&other, [7; 32], b"x", &key) && !found(&private, [8; 32], b"x", &key));
        assert!(!found(&private, [7; 32], b"y", &key) && !found(&private, [7; 32], b"x", &key[1..]));
        assert!(!found(&private, [7; 32], b"x", &[0; 32]));

        let sealed = seal(&public, &[7; 32], b"x", b"plain").unwrap();
        assert_eq!(**open(&private, &[7; 32], b"x", &sealed).unwrap(), *b"plain");
        assert!(open(&other, &[7; 32], b"x", &sealed).is_err() && open(&private, &[8; 32], b"x", &sealed).is_err());
        assert!(open(&private, &[7; 32], b"y", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(
                open(&private, &[7; 32], b"x", &bad).is_err() && open(&private, &[7; 32], b"x", &sealed[..at]).is_err()
            );
        }
    }
}
