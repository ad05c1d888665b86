// A home for system topics in another subscription: Azure wants a topic in the subscription of its source.
targetScope = 'subscription'

@description('Name of the resource group.')
param name string

@description('Region.')
param location string

@description('Tags of the resource group.')
param tags object

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: name
  location: location
  tags: tags
}
