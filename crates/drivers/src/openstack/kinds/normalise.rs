//! Canonical spelling of values with several spellings: addresses, prefixes, protocols.

use stateward_domain::field_error::FieldError;
use std::net::IpAddr;

use serde_json::{Map, Value};

/// A prefix with its host bits cleared, as Neutron shows it; a bare address is a prefix of full length.
pub(super) fn prefix(text: &str) -> Option<String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length: u32 = length.map_or(Some(bits), |length| length.parse().ok())?;
    if length > bits {
        return None;
    }
    let masked = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    };
    Some(format!("{masked}/{length}"))
}

/// An address in its shortest spelling, as Neutron shows it.
pub(super) fn address(text: &str) -> Option<String> {
    text.parse::<IpAddr>().ok().map(|address| address.to_string())
}

/// Normalises the text of the field `name`; adds a field error if it is not valid.
pub(super) fn normalise_field(
    spec: &mut Map<String, Value>,
    name: &str,
    spell: fn(&str) -> Option<String>,
    faults: &mut Vec<FieldError>,
) {
    let Some(Value::String(text)) = spec.get_mut(name) else { return };
    match spell(text) {
        Some(normal) => *text = normal,
        None => faults.push(field_error(&format!("/{name}"), "is no address of the expected form")),
    }
}

/// The same for a member of each object of a list.
pub(super) fn normalise_list_fields(
    spec: &mut Map<String, Value>,
    list: &str,
    member: &str,
    spell: fn(&str) -> Option<String>,
    faults: &mut Vec<FieldError>,
) {
    let Some(Value::Array(items)) = spec.get_mut(list) else { return };
    for (index, item) in items.iter_mut().enumerate() {
        let Some(Value::String(text)) = item.get_mut(member) else { continue };
        if let Some(normal) = spell(text) {
            *text = normal;
        } else {
            let pointer = format!("/{list}/{index}/{member}");
            faults.push(field_error(&pointer, "is no address of the expected form"));
        }
    }
}

/// An error of a field of the desired state.
pub(super) fn field_error(pointer: &str, message: &str) -> FieldError {
    FieldError { pointer: pointer.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_lose_their_host_bits() {
        for (text, normal) in [
            ("10.0.0.5/24", "10.0.0.0/24"),
            ("10.0.0.7", "10.0.0.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8:0:0::5/64", "2001:db8::/64"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(prefix(text).as_deref(), Some(normal));
        }
        for bad in ["10.0.0.0/33", "10.0.0/8", "x", "", "10.0.0.0/-1", "::/129"] {
            assert_eq!(prefix(bad), None, "{bad}");
        }
        assert_eq!(address("2001:0DB8::0001").as_deref(), Some("2001:db8::1"));
        assert_eq!(address("10.0.0.256"), None);
    }
}
