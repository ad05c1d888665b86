// The app: Flex Consumption, which scales to zero, with one identity for all that it does and no key in its settings.
@description('Name of the app, and the first part of its host name.')
param name string

@description('Name of the plan.')
param planName string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Resource id of the app\'s identity.')
param identityId string

@description('Client id of the same identity.')
param identityClientId string

@description('Object id of the same identity.')
param identityPrincipalId string

@description('Name of the account that the Functions host and Durable use.')
param storageName string

@description('The container that holds the app\'s package.')
param packageUrl string

@description('Name of the Application Insights component.')
param insightsName string

@description('Name of the vault that holds the secrets.')
param vaultName string

@description('Blob endpoint of the account that holds the records.')
param store string

@description('Comma-separated ids of what is watched: the sweep looks at nothing else.')
param watched string

@description('The most that the app may do at all.')
@allowed(['off', 'dry-run', 'ask', 'auto'])
param mode string

@description('Which of the keys in the secret medic-approval-keys signs; empty: the first.')
param approvalActiveKid string

@description('Whether the secret medic-teams-url is in the vault.')
param tellTeams bool

@description('Whether the secret medic-webhook-url is in the vault.')
param tellWebhook bool

@description('Endpoint of the topic for outcomes; empty: none.')
param outcomeEndpoint string

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

// Without `alwaysReady` nothing runs, and nothing is paid, while nothing happens.
resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'medic' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    siteConfig: {
      ftpsState: 'Disabled'
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      remoteDebuggingEnabled: false
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: 2048
        maximumInstanceCount: 40
      }
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: {
    AzureWebJobsStorage__accountName: storageName
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    // Otherwise the host keeps five traces a second, and drops the lines of the others with them.
    OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
    OTEL_TRACES_SAMPLER_ARG: '1.0'
    AZURE_CLIENT_ID: identityClientId
    // Sign-in shows Entra ID a token of the identity where other apps show a secret.
    OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identityClientId
    MEDIC_TASK_HUB: 'endpointmedic'
    MEDIC_MODE: mode
    MEDIC_STORE: store
    // Empty is as good as absent: the default, which README.md names.
    MEDIC_POLICY: ''
    MEDIC_WATCH: watched
    MEDIC_ARM_URL: environment().resourceManager
    MEDIC_ARM_SCOPE: ''
    MEDIC_CLIENT_ID: identityClientId
    MEDIC_PRINCIPAL_ID: identityPrincipalId
    MEDIC_SEND_SECONDS: '60'
    MEDIC_APPROVAL_KEYS: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=medic-approval-keys)'
    MEDIC_APPROVAL_ACTIVE_KID: approvalActiveKid
    MEDIC_ANCHOR_KEY: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=medic-anchor-key)'
    MEDIC_TEAMS_URL: tellTeams ? '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=medic-teams-url)' : ''
    MEDIC_WEBHOOK_URL: tellWebhook ? '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=medic-webhook-url)' : ''
    MEDIC_OUTCOME_TOPIC: outcomeEndpoint
    MEDIC_APP_URL: 'https://${app.properties.defaultHostName}'
  }
}

// A publishing profile is a password: neither way of using one is open. Written one after the other: App Service may refuse
// two writes to one site at once.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
  dependsOn: [settings]
}

resource noScmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
  dependsOn: [noFtpPassword]
}

@description('Resource id of the app.')
output id string = app.id

@description('Name of the app.')
output name string = app.name

@description('Where people reach it.')
output uri string = 'https://${app.properties.defaultHostName}'
