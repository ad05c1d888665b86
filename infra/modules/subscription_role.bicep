// Gives the app one of its custom roles on a subscription.
targetScope = 'subscription'

@description('GUID of the role\'s definition, in this subscription.')
param role string

@description('Object id of the app\'s identity.')
param principalId string

// The principal is part of the name: an identity that was made anew gets an assignment of its own.
resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, principalId, role)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}
