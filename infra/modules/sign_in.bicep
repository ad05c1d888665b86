// Sign-in with Entra ID in front of the app, without a secret: a federated credential of the registration trusts the identity.
@description('Name of the function app.')
param appName string

@description('Client id of the app registration.')
@minLength(36)
@maxLength(36)
param clientId string

resource app 'Microsoft.Web/sites@2024-11-01' existing = {
  name: appName
}

// People are sent to the sign-in page, programs send a bearer token. Who may do what the app itself decides, by app role.
resource signIn 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
      // Event Grid shows a key of its own. Whether letters' case counts is not documented: both spellings are in use.
      excludedPaths: ['/runtime/webhooks/EventGrid', '/runtime/webhooks/eventgrid', '/api/health']
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          openIdIssuer: '${environment().authentication.loginEndpoint}${subscription().tenantId}/v2.0'
          clientId: clientId
          clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
        }
        // No list of applications: `medic` signs in by the Azure CLI, CI by an identity of its own. App roles tell them apart.
        validation: {
          allowedAudiences: [clientId, 'api://${clientId}']
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
}
