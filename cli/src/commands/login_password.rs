//! `login password`: signs a user in with a name and a password.

use cache_core::secret::Secret;
use flows::client::PasswordGrant;

use super::login::user_signed_in;
use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{Missing, Session};
use crate::variable_name::VariableName;

/// Signs the user in. The password is asked for last, when all else is known to be there, and is never an argument.
pub(crate) async fn run(
    session: &Session,
    username: String,
    variable: &VariableName,
) -> Result<Answer, Failure> {
    let scopes = session.scopes()?;
    let (result, cache) = if session.is_confidential() {
        // Whoever writes this command has chosen; the library's own users must say so in their program.
        let client = session
            .confidential_builder(Missing::Create)
            .await?
            .allow_password_grant(PasswordGrant::IUnderstandTheRisk)
            .build()?;
        session.require_place(client.cache()).await?;
        let password = password(variable).await?;
        let result = client
            .acquire_token_by_username_password(scopes, username, password)
            .await?;
        (result, client.cache().clone())
    } else {
        let client = session.public_client(Missing::Create).await?;
        session.require_place(client.cache()).await?;
        let password = password(variable).await?;
        let result = client
            .acquire_token_by_username_password(scopes, username, password)
            .await?;
        (result, client.cache().clone())
    };
    Ok(user_signed_in(&cache, session, &result).await)
}

async fn password(variable: &VariableName) -> Result<Secret, Failure> {
    if let Some(value) = std::env::var_os(variable.as_str()).filter(|value| !value.is_empty()) {
        let text = value.into_string();
        // Not its name, which may be the password, given in the wrong place.
        return text
            .map(Secret::new)
            .map_err(|_| Failure::usage("the environment variable that --password-env names is not UTF-8"));
    }
    // A person may think for a while.
    let asked = tokio::task::spawn_blocking(|| rpassword::prompt_password("Password: ")).await;
    match asked.map_err(|error| Failure::new("internal", Exit::Other, error))? {
        Ok(password) if !password.is_empty() => Ok(Secret::new(password)),
        Ok(_) => Err(Failure::usage("no password was given")),
        Err(_) => Err(Failure::usage(
            "there is no terminal to ask for the password; set the environment variable that --password-env names",
        )),
    }
}
