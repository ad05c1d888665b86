// The records: what the app decided and did (trail), what it saw (evidence), and events that nobody took (deadletters).
@description('Name of the account.')
@minLength(3)
@maxLength(24)
param name string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('How often, and where, the records are kept.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param sku string

@description('Object id of the app\'s identity.')
param principalId string

@description('Name of the custom role that reads records and adds new ones.')
param storeRole string

@description('Whether the immutability policy of the trail was locked: a locked one refuses to be deployed again.')
param trailLocked bool

@description('Days for which no record of the trail can be changed or deleted.')
@minValue(1)
@maxValue(146000)
param trailDays int = 365

@description('Days after which evidence is deleted.')
@minValue(1)
param evidenceDays int = 90

@description('Days after which dead letters are deleted.')
@minValue(1)
param deadLetterDays int = 30

var containerDays = 7

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

// No versions: nothing here is ever written over. No soft delete of blobs: evidence is to be gone when its time is over.
resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    containerDeleteRetentionPolicy: {
      enabled: true
      days: containerDays
    }
    deleteRetentionPolicy: {
      enabled: false
    }
    isVersioningEnabled: false
  }
}

resource trail 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = {
  parent: blobs
  name: 'trail'
  properties: {
    publicAccess: 'None'
  }
}

resource evidence 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = {
  parent: blobs
  name: 'evidence'
  properties: {
    publicAccess: 'None'
  }
}

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = {
  parent: blobs
  name: 'deadletters'
  properties: {
    publicAccess: 'None'
  }
}

// Unlocked as it is made: an owner can still shorten or remove it. Locking is a person's step, once and for all.
resource immutability 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2025-08-01' = if (!trailLocked) {
  parent: trail
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: trailDays
    allowProtectedAppendWrites: true
  }
}

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'forget-evidence'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob', 'appendBlob']
              prefixMatch: ['${evidence.name}/']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: evidenceDays
                }
              }
            }
          }
        }
        {
          name: 'forget-dead-letters'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob', 'appendBlob']
              prefixMatch: ['${deadLetters.name}/']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: deadLetterDays
                }
              }
            }
          }
        }
      ]
    }
  }
}

resource appendsTrail 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(trail.id, principalId, storeRole)
  scope: trail
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storeRole)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource appendsEvidence 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(evidence.id, principalId, storeRole)
  scope: evidence
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storeRole)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

@description('Resource id of the account.')
output id string = account.id

@description('Name of the account.')
output name string = account.name

@description('Where the app finds its records.')
output blobEndpoint string = account.properties.primaryEndpoints.blob
