// Successful deployments of one workspace's topic, to the app: they corroborate a repair. Deployed after the code.
@description('Name of the system topic, in this resource group.')
param topicName string

@description('Resource id of the function app.')
param functionAppId string

@description('Resource id of the storage account whose container `deadletters` takes what the app did not.')
param recordsId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource deployed 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: last(split(functionAppId, '/'))
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: '${functionAppId}/functions/on_deployment_failure'
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    filter: {
      includedEventTypes: ['Microsoft.MachineLearningServices.ModelDeployed']
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: recordsId
          blobContainerName: 'deadletters'
        }
      }
    }
  }
}
