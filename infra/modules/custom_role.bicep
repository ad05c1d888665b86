// One of the roles of rbac/, in one subscription. Assigned nowhere by itself.
targetScope = 'subscription'

@description('GUID of the definition.')
param name string

@description('Content of a file of rbac/.')
param role object

@description('Sets the name apart from that of other deployments: a tenant has each name once.')
param suffix string

resource definition 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: name
  properties: {
    roleName: '${role.roleName} (${suffix})'
    description: role.description
    type: 'CustomRole'
    permissions: role.permissions
    assignableScopes: [subscription().id]
  }
}

@description('GUID of the definition.')
output name string = definition.name
