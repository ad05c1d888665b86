// Gives the app a role over role assignments on a resource group, never without a condition on which ones.
@description('GUID of the role\'s definition, in this subscription.')
param role string

@description('Object id of the app\'s identity.')
param principalId string

@description('Which role assignments the role reaches.')
@minLength(1)
param condition string

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, principalId, role)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    principalId: principalId
    principalType: 'ServicePrincipal'
    condition: condition
    conditionVersion: '2.0'
  }
}
