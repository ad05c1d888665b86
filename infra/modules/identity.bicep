// Who the app is: roles outlive the app, and another app does not get them by taking its name.
@description('Name of the identity.')
param name string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

@description('Resource id.')
output id string = identity.id

@description('What its tokens name as the application.')
output clientId string = identity.properties.clientId

@description('Object id: who holds the roles.')
output principalId string = identity.properties.principalId
