//! Conditions for `skip_serializing_if`.

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if hands out a reference"
)]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}
