//! Verifies that the server at an address is the one that the local token belongs to.

use anyhow::bail;
use stateward_api::server_proof::{CHALLENGE, PROOF, proof};

use super::retry::SendFailure;
use super::send::FIRST_TIMEOUT;
use super::{Client, ServerConnection};

impl Client {
    /// Verifies, once, that the server belongs to the data directory that the address or the token came from. A killed
    /// server leaves its address behind, and another process may listen on its port by now.
    ///
    /// # Errors
    /// Another server listens there, or none runs. The inner error is transient: the server could not be asked.
    pub(super) async fn verify_server(
        &self,
    ) -> anyhow::Result<Result<(), (SendFailure, anyhow::Error)>> {
        let ServerConnection { url, proof_token, stopped_data_dir, .. } = &self.connection;
        if let Some(data) = stopped_data_dir {
            let data = data.display();
            bail!(
                "no server runs on {data} (`stateward serve --data {data}` starts it; --server names another)"
            );
        }
        let Some(token) = proof_token else { return Ok(Ok(())) };
        if self.verified.get().is_some() {
            return Ok(Ok(()));
        }
        let challenge = crate::random::hexadecimal::<32>()?;
        let asked = self.http.get(format!("{url}/livez")).header(CHALLENGE, &challenge);
        let answer = match asked.timeout(FIRST_TIMEOUT).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let failed =
                    if error.is_connect() { SendFailure::Unsent } else { SendFailure::Lost };
                return Ok(Err((failed, self.unreachable(&error))));
            }
        };
        let given = answer.headers().get(PROOF).and_then(|text| text.to_str().ok());
        if given != Some(proof(token.value(), &challenge).as_str()) {
            let origin = token.origin();
            bail!(
                "{url} is not the server of {origin}, so no token was sent: is that one stopped? (--server names another)"
            );
        }
        // Another task may have set it already.
        let _ = self.verified.set(());
        Ok(Ok(()))
    }
}
