// A system topic: what Azure tells of one subscription, resource group or workspace. Azure allows one for each source.
param name string
param location string
param tags object

@description('Resource id of what is watched.')
param source string

@allowed(['Microsoft.Resources.Subscriptions', 'Microsoft.Resources.ResourceGroups', 'Microsoft.MachineLearningServices.Workspaces'])
param topicType string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: source
    topicType: topicType
  }
}

output principalId string = topic.identity.principalId
